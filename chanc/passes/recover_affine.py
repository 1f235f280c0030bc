"""BatchNormalization recovered from the arithmetic that exporters write in its place, as a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import PassResult

from chanc.passes.base import Pass
from chanc.transforms import recover_affine
from chanc.transforms._moments import Feeds


@dataclass(frozen=True, eq=False)
class RecoverAffine(Pass):
    """Turn chains of Mul, Add, Sub and Div into norms (`chanc.transforms.recover_affine`)."""

    calibration: Sequence[Feeds] = ()
    epsilon: float = 1e-5
    momentum: float = 0.9

    def call(self, model: ir.Model) -> PassResult:
        """Recover in place."""
        changed = recover_affine(model, self.calibration, epsilon=self.epsilon, momentum=self.momentum)
        return PassResult(model, changed)
