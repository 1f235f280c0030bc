"""The normal form of a model, as a pass."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.ir.normalize import normalize
from chanc.passes.base import Pass


class Normalize(Pass):
    """Bring a model into normal form (`chanc.ir.normalize`)."""

    def call(self, model: ir.Model) -> PassResult:
        """Normalize in place."""
        return PassResult(model, normalize(model))
