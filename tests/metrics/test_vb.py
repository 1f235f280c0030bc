from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from chanc.metrics.vb import Shape, bounds, free_energy
from chanc.metrics.vb_brent import brent_noise_variance
from chanc.metrics.vb_global import lowest_noise_variance

SHAPES = [(3, 27), (3, 576), (16, 144), (27, 64), (32, 32), (64, 576), (2, 50), (1, 9)]


def squares(small: int, large: int, count: int, seed: int = 0) -> np.ndarray:
    """c = s^2 / M of low-rank matrices in noise, normalised, [count, L]."""
    g = np.random.default_rng([seed, small, large])
    rows = []
    for _ in range(count):
        rank = g.integers(0, small + 1)
        matrix = g.standard_normal((small, rank)) @ g.standard_normal((rank, large)) * g.uniform(0.02, 0.6)
        values = np.linalg.svd(matrix + g.standard_normal((small, large)), compute_uv=False)
        rows.append(values**2 / (values**2).sum() / large)
    return np.array(rows)


def written_out(values: np.ndarray, variance: float, shape: Shape) -> float:
    """F term by term, as the paper has it."""
    total = 0.0
    for x in values / variance:
        total += x - np.log(x)
        if x > shape.xbar:
            shifted = x - (1 + shape.alpha)
            tau = (shifted + np.sqrt(shifted**2 - 4 * shape.alpha)) / 2
            total += np.log(tau + 1) + shape.alpha * np.log(tau / shape.alpha + 1) - tau
    return total


@pytest.mark.parametrize(("small", "large"), SHAPES)
def test_free_energy_is_the_papers(small: int, large: int) -> None:
    shape, values = Shape(small, large), squares(small, large, 5)
    low, high = bounds(values, shape)
    found = free_energy(values, (low + high) / 2, shape)
    expected = [written_out(v, m, shape) for v, m in zip(values, (low + high) / 2, strict=True)]
    assert found == pytest.approx(expected, rel=1e-11)


def minima(row: np.ndarray, low: float, high: float, shape: Shape) -> int:
    """How many minima F has on a fine grid of [low, high], its ends included."""
    grid = np.linspace(low, high, 2001)
    energy = free_energy(np.tile(row, (len(grid), 1)), grid, shape)
    falls = np.concatenate([[True], np.diff(energy) < 0, [False]])
    return int((falls[:-1] & ~falls[1:]).sum())


@pytest.mark.parametrize(("small", "large"), SHAPES)
def test_brents_search_is_scipys_where_there_is_one_minimum(small: int, large: int) -> None:
    """Where there are several, the last bits of F decide at which one either search ends."""
    shape, values = Shape(small, large), squares(small, large, 25)
    low, high = bounds(values, shape)
    found = brent_noise_variance(values, shape)
    compared = 0
    for i, row in enumerate(values):
        if low[i] < high[i] and minima(row, low[i], high[i], shape) > 1:
            continue
        compared += 1
        if low[i] == high[i]:
            assert found[i] == high[i]
            continue
        energy = lambda v, row=row: free_energy(row[None], np.array([v]), shape)[0]  # noqa: E731
        answer = minimize_scalar(energy, bounds=(low[i], high[i]), method="bounded", options={"xatol": 1e-9 * high[i]})
        # Values of F alone place a minimum no better than sqrt(eps) = 1.5e-8, times its width: SciPy has no slope.
        assert found[i] == pytest.approx(answer.x, rel=1e-6)
    assert compared >= 5


@pytest.mark.parametrize(("small", "large"), SHAPES)
@pytest.mark.parametrize("search", [brent_noise_variance, lowest_noise_variance])
def test_no_answer_depends_on_the_rest_of_the_batch(search, small: int, large: int) -> None:
    shape, values = Shape(small, large), squares(small, large, 60)
    alone = np.concatenate([search(row[None], shape) for row in values])
    assert (search(values, shape) == alone).all()


@pytest.mark.parametrize(("small", "large"), SHAPES)
def test_lowest_minimum_is_below_every_point(small: int, large: int) -> None:
    shape, values = Shape(small, large), squares(small, large, 60, seed=1)
    low, high = bounds(values, shape)
    found = lowest_noise_variance(values, shape)
    assert (found >= low * (1 - 1e-12)).all()
    assert (found <= high * (1 + 1e-12)).all()
    best = free_energy(values, found, shape)
    assert (best <= free_energy(values, brent_noise_variance(values, shape), shape) + 1e-9).all()
    for share in np.linspace(0, 1, 501):
        assert (best <= free_energy(values, low + (high - low) * share, shape) + 1e-11 * np.abs(best)).all()


@pytest.mark.parametrize(("small", "large"), SHAPES)
def test_last_bits_move_the_lowest_minimum_by_last_bits(small: int, large: int) -> None:
    shape, values = Shape(small, large), squares(small, large, 60)
    found = lowest_noise_variance(values, shape)
    g = np.random.default_rng(2)
    for _ in range(5):
        moved = lowest_noise_variance(values * (1 + 4e-16 * g.standard_normal(values.shape)), shape)
        # Some ten times what the sum of L values moves by.
        assert moved == pytest.approx(found, rel=1e-13)


def test_the_two_searches_part_where_there_are_several_minima() -> None:
    shape, values = Shape(32, 32), squares(32, 32, 200, seed=1)
    bounded, lowest = brent_noise_variance(values, shape), lowest_noise_variance(values, shape)
    apart = np.abs(bounded / lowest - 1) > 1e-4
    assert 0 < apart.sum() < 40
    assert (free_energy(values, lowest, shape) < free_energy(values, bounded, shape))[apart].all()


def test_threshold_and_first_noise_value() -> None:
    assert Shape(20, 20).xbar == pytest.approx((1 + 2.5129) * (1 + 1 / 2.5129))
    assert [Shape(*s).first_noise for s in ((20, 50), (32, 32), (3, 576), (1, 9))] == [14, 15, 2, 0]
