"""Figures of agreement against the same ones by hand, however the samples come."""

from __future__ import annotations

import numpy as np
import pytest

from chanc.errors import ModelError
from chanc.oracles.agreement import Agreement, Tally


def told(one: np.ndarray, other: np.ndarray, *, parts: int = 3) -> Agreement:
    tally = Tally("y")
    for a, b in zip(np.array_split(one, parts), np.array_split(other, parts), strict=True):
        tally.add(a, b)
    return tally.agreement()


@pytest.mark.parametrize("shift", [0.0, 1e5])
def test_errors_and_correlation_by_hand(shift: float) -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal((10, 4)) + shift
    other = one + 0.3 * rng.standard_normal((10, 4))
    found = told(one, other)
    assert found.shape == (4,)
    assert found.relative == pytest.approx(np.linalg.norm(other - one) / np.linalg.norm(one), rel=1e-9)
    assert found.largest == np.abs(other - one).max()
    assert found.correlation == pytest.approx(np.corrcoef(one.ravel(), other.ravel())[0, 1], rel=1e-9)


def test_the_same_largest_entry() -> None:
    one = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    found = told(one, one * [1, 0.4], parts=2)
    assert (found.same, found.of, found.count) == (0.75, "top-1", 4)
    assert found.error == pytest.approx((0.75 * 0.25 / 4) ** 0.5)


def test_a_map_has_no_largest_entry() -> None:
    assert told(np.ones((3, 2, 2)), np.ones((3, 2, 2))) == Agreement("y", (2, 2), 0.0, 0.0, None, None, "", 12)


def test_whole_numbers_are_the_same_or_not() -> None:
    found = told(np.array([1, 2, 3, 4]), np.array([1, 2, 0, 4]))
    assert found == Agreement("y", (), None, None, None, 0.75, "entries", 4)
    assert found.error is None


def test_what_is_not_finite_hides_nothing() -> None:
    one = np.array([[1.0, -np.inf], [2.0, np.nan]])
    assert told(one, one, parts=2).relative == 0
    other = np.array([[1.0, -np.inf], [2.0, 3.0]])
    found = told(one, other, parts=2)
    assert (found.relative, found.largest) == (np.inf, np.inf)


def test_a_zero_output_has_no_relative_error_but_none() -> None:
    assert told(np.zeros((2, 1)), np.zeros((2, 1)), parts=2).relative == 0
    assert told(np.zeros((2, 1)), np.ones((2, 1)), parts=2).relative == np.inf


@pytest.mark.parametrize("other", [np.zeros((2, 4)), np.zeros((2, 3), dtype=int)])
def test_what_cannot_be_compared(other: np.ndarray) -> None:
    with pytest.raises(ModelError, match="output 'y' of the two models can't be compared: float64"):
        Tally("y").add(np.zeros((2, 3)), other)
