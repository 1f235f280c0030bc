"""The regression of a layer: what it solves, and what it is judged by."""

from __future__ import annotations

import numpy as np
import pytest

from chanc.transforms.recovery import ridge
from chanc.transforms.recovery.ridge import Rows, joined, refit

RNG = np.random.default_rng(3)


def rows(count: int, weight: np.ndarray, noise: float = 0.0) -> Rows:
    """Rows of that weight, and a shift of 1."""
    groups, unknowns, outputs = weight.shape
    x = RNG.standard_normal((groups, count, unknowns)) + 2
    return Rows(x, x @ weight + 1 + noise * RNG.standard_normal((groups, count, outputs)))


def test_groups_and_shifts_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "SHARES", (1e-12,))
    weight = RNG.standard_normal((3, 5, 2))
    fit = refit(rows(50, weight), 40, np.zeros_like(weight), np.zeros((3, 1, 2)), free=True)
    assert np.allclose(fit.weight, weight, atol=1e-8)
    assert np.allclose(fit.shift, 1)
    assert fit.before > 1 > 1e-8 > fit.after


@pytest.mark.parametrize("count", [12, 60])  # fewer rows than unknowns, and more
@pytest.mark.parametrize("free", [True, False])
def test_it_is_pulled_towards_the_weights(count: int, free: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "SHARES", (0.1,))
    truth, start = RNG.standard_normal((2, 1, 30, 3))
    given, shift = rows(count, truth), np.ones((1, 1, 3)) * (0.5 if free else 1.0)
    fit = refit(given, count - 3, start, shift, free=free)
    assert fit.better
    x, rest = given.x[0], (given.y - given.x @ start - shift)[0]
    x_mean, rest_mean = (x.mean(axis=0), rest.mean(axis=0)) if free else (0.0, 0.0)
    gram = (x - x_mean).T @ (x - x_mean)
    change = np.linalg.solve(gram + 0.1 * np.trace(gram) / 30 * np.eye(30), (x - x_mean).T @ (rest - rest_mean))
    assert np.allclose(fit.weight[0], start[0] + change)
    assert np.allclose(fit.shift[0], shift[0] + rest_mean - (x_mean @ change if free else 0))


def test_weights_that_are_better_on_what_is_held_out_stay() -> None:
    truth = RNG.standard_normal((1, 20, 2)) / 5
    fit = refit(rows(425, truth, noise=3), 25, truth, np.ones((1, 1, 2)), free=True)
    assert fit.weight is truth
    assert fit.before == fit.after
    assert not fit.better


def test_dead_channels_and_copies_do_no_harm() -> None:
    truth = RNG.standard_normal((1, 6, 2))
    given = rows(70, truth)
    given.x[:, :, 2] = 0
    given.x[:, :, 4] = given.x[:, :, 3]
    given.y[:] = given.x @ truth + 1
    fit = refit(given, 50, np.zeros_like(truth), np.zeros((1, 1, 2)), free=True)
    assert fit.after < 1e-4
    assert np.abs(fit.weight).max() < 2 * np.abs(truth).max()
    assert not fit.weight[0, 2].any()
    silent = refit(Rows(0 * given.x, given.y), 50, truth, np.ones((1, 1, 2)), free=False)
    assert silent.weight is truth


def test_nothing_is_said_without_rows() -> None:
    weight = np.ones((1, 3, 1))
    for fitted in (0, 4):
        fit = refit(rows(4, weight), fitted, weight, np.zeros((1, 1, 1)), free=True)
        assert np.isnan(fit.before)
        assert not fit.better
        assert fit.weight is weight


def test_rows_are_chosen_and_joined() -> None:
    given = rows(6, np.ones((2, 3, 1)))
    chosen = np.array([True, False] * 3)
    again = joined([given.where(chosen), given.where(~chosen)])
    assert np.array_equal(again.x[:, [0, 3, 1, 4, 2, 5]], given.x)
    assert np.array_equal(again.y[:, [0, 3, 1, 4, 2, 5]], given.y)


def test_the_share_is_that_of_the_first_valley() -> None:
    errors = dict(zip(ridge.SHARES, [1, 5, 4, 3, 2, 3, 0], strict=True))
    asked = []

    class Problem:
        def solve(self, share):
            asked.append(share)
            return share, share

    assert ridge._best(Problem(), lambda change, move: errors[change]) == (1e-2, 2)
    assert asked == [1e-2, 1e-3, 1e-1]
