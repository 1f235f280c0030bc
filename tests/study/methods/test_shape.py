from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chanc.study.methods.halving import Entry, Past
from chanc.study.methods.trial.shape import Shape, coordinates, proportions
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


def test_the_numbers_are_read_off_any_widths() -> None:
    sizes = {"a": 8, "b": 9, "c": 16, "d": 40, "e": 30, "f": 64}
    space = Space(tuple(SearchGroup(name, size, inner=name in "bd") for name, size in sizes.items()))
    found = proportions(space, 1.2, 1.5, -0.4)
    assert coordinates(space, found) == pytest.approx([0.6, math.log(1.5) / math.log(2), -0.4])
    wider = {name: 3 * width for name, width in found.items()}
    assert coordinates(space, wider) == pytest.approx(coordinates(space, found))


def test_a_lucky_training_is_not_taken_at_its_word() -> None:
    """Losses rise from narrow to wide insides; one of the worst shapes had luck once."""
    space = Space(tuple(SearchGroup(name, 64, inner=name in "bd") for name in "abcdef"))
    rhos = np.linspace(0.5, 2, 16)
    losses = [*(1 + 0.1 * rhos[:-2] + 0.02 * np.cos(40 * rhos[:-2])), 0.99, 1.2]
    entries = [Entry(k, 0, {name: round(width) for name, width in proportions(space, 1, rho, 0).items()}, loss=loss)
               for k, (rho, loss) in enumerate(zip(rhos, losses, strict=True))]  # fmt: skip
    merits = Shape().merits(space, Past(tuple(entries), tuple(range(16))))
    assert losses[14] == min(losses)
    assert min(merits, key=lambda trial: merits[trial]) < 5
