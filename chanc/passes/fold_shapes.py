"""Shape chains folded to constants, as a pass."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.analysis.fold_shapes import fold_shapes
from chanc.passes.base import Pass


class FoldShapes(Pass):
    """Fold what an analysis has read through (`chanc.analysis.fold_shapes`); the model must be in normal form."""

    needs_normal_form = True

    def call(self, model: ir.Model) -> PassResult:
        """Fold in place."""
        return PassResult(model, fold_shapes(model))
