"""BatchNormalization after every bare convolution, as a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.passes.base import Pass
from chanc.transforms import insert_batchnorm
from chanc.transforms._moments import Feeds


@dataclass(frozen=True, eq=False)
class InsertBatchNorm(Pass):
    """Put a BatchNormalization behind every convolution that has none (`chanc.transforms.insert_batchnorm`)."""

    calibration: Sequence[Feeds]
    epsilon: float = 1e-5
    momentum: float = 0.9

    def call(self, model: ir.Model) -> PassResult:
        """Insert in place."""
        changed = insert_batchnorm(model, self.calibration, epsilon=self.epsilon, momentum=self.momentum)
        return PassResult(model, changed)
