"""Shape inference, as a pass."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.analysis.infer_shapes import infer_shapes
from chanc.passes.base import Pass


class InferShapes(Pass):
    """Fill in `value.shape` and `value.dtype` (`chanc.analysis.infer_shapes`); the model must be in normal form."""

    needs_normal_form = True

    def call(self, model: ir.Model) -> PassResult:
        """Infer in place."""
        return PassResult(model, infer_shapes(model))
