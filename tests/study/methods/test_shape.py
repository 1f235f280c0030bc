from __future__ import annotations

import math
from typing import Any

import pytest

from chanc.study.methods.trial.shape import Shape, proportions
from chanc.study.space import SearchGroup, Space
from chanc.testing.halving import HalvingContract


class TestShapeContract(HalvingContract):
    def method(self, **options: Any) -> Shape:
        return Shape(**options)


def test_the_equation_by_hand() -> None:
    space = Space((SearchGroup("a", 16), SearchGroup("b", 64, inner=False), SearchGroup("c", 9)))
    assert proportions(space, 1, 1, 0) == {"a": 16, "b": 64, "c": 9}
    found = proportions(space, 0.5, 2, 1)
    assert found == pytest.approx({"a": 8 * math.exp(-0.5), "b": 8, "c": 6 * math.exp(0.5)})
