from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from chanc.metrics import vb_global
from chanc.metrics.vb import Array, Spectra, bounds, free_energy
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


def spectra(values: Array, large: int) -> Spectra:
    """Of matrices of one shape, from c, [count, L]."""
    count, small = values.shape
    return Spectra(values.ravel(), np.full(count, small), np.full(count, large))


def energy(of: Spectra, variance: Array) -> Array:
    return free_energy(of, np.arange(len(of)), variance)


def written_out(values: np.ndarray, variance: float, large: int) -> float:
    """F term by term, as the paper has it."""
    total, alpha, (xbar,) = 0.0, len(values) / large, spectra(values[None], large).xbar
    for x in values / variance:
        total += x - np.log(x)
        if x > xbar:
            shifted = x - (1 + alpha)
            tau = (shifted + np.sqrt(shifted**2 - 4 * alpha)) / 2
            total += np.log(tau + 1) + alpha * np.log(tau / alpha + 1) - tau
    return total


@pytest.mark.parametrize(("small", "large"), SHAPES)
def test_free_energy_is_the_papers(small: int, large: int) -> None:
    values = squares(small, large, 5)
    of = spectra(values, large)
    low, high = bounds(of)
    for share in (0.02, 0.5):
        variance = low + share * (high - low)
        expected = [written_out(v, m, large) for v, m in zip(values, variance, strict=True)]
        assert energy(of, variance) == pytest.approx(expected, rel=1e-11)


def minima(row: np.ndarray, low: float, high: float, large: int) -> int:
    """How many minima F has on a fine grid of [low, high], its ends included."""
    grid = np.linspace(low, high, 2001)
    found = free_energy(spectra(row[None], large), np.zeros(len(grid), np.intp), grid)
    falls = np.concatenate([[True], np.diff(found) < 0, [False]])
    return int((falls[:-1] & ~falls[1:]).sum())


@pytest.mark.parametrize(("small", "large"), SHAPES)
def test_brents_search_is_scipys_where_there_is_one_minimum(small: int, large: int) -> None:
    """Where there are several, the last bits of F decide at which one either search ends."""
    values = squares(small, large, 25)
    of = spectra(values, large)
    low, high = bounds(of)
    found = brent_noise_variance(of)
    compared = 0
    for i, row in enumerate(values):
        if low[i] < high[i] and minima(row, low[i], high[i], large) > 1:
            continue
        compared += 1
        if low[i] == high[i]:
            assert found[i] == high[i]
            continue
        alone = of[np.array([i])]
        answer = minimize_scalar(lambda v, alone=alone: energy(alone, np.array([v]))[0], bounds=(low[i], high[i]),
                                 method="bounded", options={"xatol": 1e-9 * high[i]})  # fmt: skip
        # Values of F alone place a minimum no better than sqrt(eps) = 1.5e-8, times its width: SciPy has no slope.
        assert found[i] == pytest.approx(answer.x, rel=1e-6)
    assert compared >= 5


@pytest.mark.parametrize("search", [brent_noise_variance, lowest_noise_variance])
def test_no_answer_depends_on_the_other_matrices(search) -> None:
    each = [spectra(squares(small, large, 5), large) for small, large in SHAPES]
    together = Spectra(*(np.concatenate(parts) for parts in zip(*((of.values, of.small, of.large) for of in each),
                                                              strict=True)))  # fmt: skip
    mixed = together[np.random.default_rng(0).permutation(len(together))]
    alone = np.concatenate([search(mixed[np.array([row])]) for row in range(len(mixed))])
    assert (search(mixed) == alone).all()


def test_what_is_too_much_at_once_is_solved_in_parts(monkeypatch) -> None:
    of = spectra(squares(16, 40, 30), 40)
    whole = lowest_noise_variance(of)
    monkeypatch.setattr(vb_global, "_CELLS", 3 * 16**2)
    assert (lowest_noise_variance(of) == whole).all()


@pytest.mark.parametrize(("small", "large"), SHAPES)
def test_lowest_minimum_is_below_every_point(small: int, large: int) -> None:
    of = spectra(squares(small, large, 30, seed=1), large)
    low, high = bounds(of)
    found = lowest_noise_variance(of)
    assert (found >= low * (1 - 1e-12)).all()
    assert (found <= high * (1 + 1e-12)).all()
    best = energy(of, found)
    assert (best <= energy(of, brent_noise_variance(of)) + 1e-9).all()
    for share in np.linspace(0, 1, 501):
        assert (best <= energy(of, low + (high - low) * share) + 1e-11 * np.abs(best)).all()


@pytest.mark.parametrize(("small", "large"), SHAPES)
def test_last_bits_move_the_lowest_minimum_by_last_bits(small: int, large: int) -> None:
    values = squares(small, large, 30)
    found = lowest_noise_variance(spectra(values, large))
    g = np.random.default_rng(2)
    for _ in range(5):
        moved = lowest_noise_variance(spectra(values * (1 + 4e-16 * g.standard_normal(values.shape)), large))
        # Some ten times what the sum of L values moves by.
        assert moved == pytest.approx(found, rel=1e-13)


def test_the_two_searches_part_where_there_are_several_minima() -> None:
    of = spectra(squares(32, 32, 200, seed=1), 32)
    bounded, lowest = brent_noise_variance(of), lowest_noise_variance(of)
    apart = np.abs(bounded / lowest - 1) > 1e-4
    assert 0 < apart.sum() < 40
    assert (energy(of, lowest) < energy(of, bounded))[apart].all()


def test_threshold_and_first_noise_value() -> None:
    sides = np.array([(20, 20), (20, 50), (32, 32), (3, 576), (1, 9)]).T
    of = Spectra(np.empty(0), *sides)
    assert of.xbar[0] == pytest.approx((1 + 2.5129) * (1 + 1 / 2.5129))
    assert list(of.first_noise[1:]) == [14, 15, 2, 0]
