"""BatchNormalization folded for deployment, as a pass."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.passes.base import Pass
from chanc.transforms import fold_batchnorm


class FoldBatchNorm(Pass):
    """Fold every BatchNormalization into the layer that it alone reads (`chanc.transforms.fold_batchnorm`)."""

    def call(self, model: ir.Model) -> PassResult:
        """Fold in place."""
        return PassResult(model, fold_batchnorm(model))
