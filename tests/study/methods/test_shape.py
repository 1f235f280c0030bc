from __future__ import annotations

from typing import Any

from chanc.study.methods.trial.shape import Shape
from chanc.testing.halving import HalvingContract


class TestShapeContract(HalvingContract):
    def method(self, **options: Any) -> Shape:
        return Shape(**options)
