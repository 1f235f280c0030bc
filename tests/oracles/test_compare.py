"""Outputs are compared as they are: infinities where they belong, and nothing hidden behind them."""

from __future__ import annotations

import numpy as np
import pytest

from chanc.oracles import compare

INF = float("inf")


def error(want: list, have: list) -> float:
    (found,) = compare([np.array(want, dtype=np.float32)], [np.array(have, dtype=np.float32)], ["y"])
    return found.error


@pytest.mark.parametrize("mask", [-INF, INF, float("nan"), -1e9, float(np.finfo(np.float32).min)])
def test_a_mask_on_both_sides_hides_nothing(mask: float) -> None:
    assert error([1.0, mask, 2.0], [1.0, mask, 2.0]) == 0
    assert error([1.0, mask, 2.0], [1.5, mask, 2.0]) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("want", "have"), [(-INF, INF), (-INF, 3.0), (3.0, -INF), (float("nan"), -INF), (3.0, float("nan"))]
)
def test_what_is_not_finite_must_be_the_same(want: float, have: float) -> None:
    assert error([1.0, want], [1.0, have]) == INF


def test_large_numbers_that_differ_are_no_mask() -> None:
    assert error([1.0, -1e9], [1.0, -5e8]) == pytest.approx(0.5)


def test_shapes_and_whole_numbers() -> None:
    (found,) = compare([np.zeros((2, 3))], [np.zeros((3, 2))], ["y"])
    assert found.error == INF
    (found,) = compare([np.array([1, 2, 3, 4])], [np.array([1, 2, 3, 5])], ["y"])
    assert found.error == 0.25
