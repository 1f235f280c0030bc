"""The free energy of empirical VBMF as a function of the noise variance, and the bounded search of its minimum.

Nakajima, Sugiyama, Babacan and Tomioka, "Global analytic solution of fully-observed variational Bayesian matrix
factorization" (JMLR 14, 2013). For an L x M matrix, L <= M, alpha = L/M, with c_i = s_i^2 / M and x_i = c_i / sigma^2:

    F(sigma^2) = sum_{x <= xbar} (x - ln x)
               + sum_{x >  xbar} (x - tau + ln((tau + 1) / x) + alpha ln(tau / alpha + 1))
    tau(x) = (x - (1 + alpha) + sqrt((x - (1 + alpha))^2 - 4 alpha)) / 2
    xbar = (1 + t)(1 + alpha / t),  t = 2.5129 sqrt(alpha)

Over t = ln sigma^2 its slope, with "above" for x > xbar and "below" for the rest, and the slope's slope are

    g(t) = sum_below (1 - x) - alpha sum_above (1 + 1 / tau),  g'(t) = sum_below x - alpha sum_above x / (tau^2 - alpha)

F may have several minima. The figures published for CONet come from Brent's bounded search, which ends in the minimum
that its golden-section steps meet first: `noise_variance` does the same for a whole batch at once, and takes the last
steps by Newton's method on g. `chanc.metrics.vb_global` finds the lowest of all minima instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_GOLDEN = (3 - math.sqrt(5)) / 2
_STEPS = 200
_TOLERANCE = 1e-9
"""Of sigma^2, relative to its upper bound: F is flat to float64's precision within sqrt(eps) of a minimum."""
_NEWTON = 4
_REACH = 1e-4
"""Of ln sigma^2: how far from Brent's answer its minimum may be."""


@dataclass(frozen=True)
class Shape:
    """The constants of an L x M problem, L <= M."""

    small: int
    large: int

    @property
    def alpha(self) -> float:
        """L / M."""
        return self.small / self.large

    @property
    def xbar(self) -> float:
        """The threshold of s^2 / (M sigma^2), with the closed approximation of tau that the paper gives."""
        tau = 2.5129 * math.sqrt(self.alpha)
        return (1 + tau) * (1 + self.alpha / tau)

    @property
    def first_noise(self) -> int:
        """The 0-based index of the largest singular value that the bound of sigma^2 holds to be noise."""
        return math.ceil(self.small / (1 + self.alpha)) - 1


def bounds(values: Array, shape: Shape) -> tuple[Array, Array]:
    """The bounds of sigma^2, [B] each, from c, [B, L] descending; the lower one stays above c's rounding error."""
    high = values.mean(axis=1)
    tail = values[:, shape.first_noise :]
    rounding = shape.small * np.finfo(np.float64).eps * values[:, 0]
    low = np.maximum(np.maximum(tail[:, 0], rounding) / shape.xbar, tail.mean(axis=1))
    return np.minimum(low, high), high


def free_energy(values: Array, variance: Array, shape: Shape) -> Array:
    """F, [B], of c, [B, L] descending, at sigma^2 > 0, [B], less the constant of the c that are zero."""
    x = values / variance[:, None]
    total: Array = x.sum(axis=1) - np.log(np.where(values > 0, x, 1 / variance[:, None])).sum(axis=1)
    signal = x > shape.xbar
    total += np.bincount(np.nonzero(signal)[0], gain(x[signal], shape.alpha), len(values))
    return total


def gain(x: Array, alpha: float) -> Array:
    """What a value above xbar takes from F by being held to be signal: -tau + ln(tau + 1) + alpha ln(tau/alpha + 1)."""
    shifted = x - (1 + alpha)
    tau = (shifted + np.sqrt(shifted**2 - 4 * alpha)) / 2
    answer: Array = np.log(tau + 1) + alpha * np.log(tau / alpha + 1) - tau
    return answer


def noise_variance(values: Array, shape: Shape) -> Array:
    """The sigma^2 of each matrix, [B], at the minimum of F that Brent's bounded search finds.

    values: c, [B, L] descending, near 1 in scale; sigma^2 is in the same scale, and 0 for a matrix of zeros.
    """
    low, high = bounds(values, shape)
    variance = np.zeros(len(values))
    live = np.flatnonzero(high > 0)
    if len(live):
        near = _brent(values[live], low[live], high[live], shape)
        variance[live] = _polish(values[live], near, low[live], high[live], shape)
    return variance


def slope(values: Array, above: Mask, where: Array, shape: Shape) -> tuple[Array, Array]:
    """g and g' at t = `where`, [B] each, of c, [B, L], with the values `above`, [B, L], taken for signal."""
    alpha = shape.alpha
    x = values * np.exp(-where)[:, None]
    shifted = x - (1 + alpha)
    tau = np.where(above, (shifted + np.sqrt(np.maximum(shifted**2 - 4 * alpha, 0.0))) / 2, 1.0)
    rise = np.where(above, -alpha * (1 + 1 / tau), 1 - x).sum(axis=1)
    bend = np.where(above, -alpha * x / np.where(above, tau**2 - alpha, 1.0), x).sum(axis=1)
    return rise, bend


def _polish(values: Array, near: Array, low: Array, high: Array, shape: Shape) -> Array:
    """Newton's method on g from a point beside a minimum; the point itself where the minimum is an end of a piece."""
    above = values / near[:, None] > shape.xbar
    start = np.log(near)
    where = start
    for _ in range(_NEWTON):
        rise, bend = slope(values, above, where, shape)
        step = np.where(bend > 0, rise / np.where(bend > 0, bend, 1.0), 0.0)
        where = np.clip(where - step, start - _REACH, start + _REACH)
    found = np.exp(where)
    inside = (found >= low) & (found <= high) & ((values / found[:, None] > shape.xbar) == above).all(axis=1)
    return np.where(inside & (np.abs(where - start) < _REACH), found, near)


def _brent(values: Array, low: Array, high: Array, shape: Shape) -> Array:
    """Brent's minimisation without derivatives (1973, chapter 5) on [low, high], all rows in step.

    best, second, third are the points of the lowest values of F so far; a step goes to the vertex of the parabola
    through them if that lies inside the bracket and steps shrink fast enough, else it cuts the bracket's larger part.
    """
    tolerance = _TOLERANCE * high
    low, high = low.copy(), high.copy()
    best = low + _GOLDEN * (high - low)
    second, third = best.copy(), best.copy()
    at_best = free_energy(values, best, shape)
    at_second, at_third = at_best.copy(), at_best.copy()
    step, previous = np.zeros_like(best), np.zeros_like(best)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if (np.abs(best - middle) <= 2 * tolerance - (high - low) / 2).all():
            break
        move, usable = _vertex(best, second, third, at_best, at_second, at_third)
        usable &= (np.abs(previous) > tolerance) & (np.abs(move) < np.abs(previous) / 2)
        usable &= (best + move > low) & (best + move < high)
        larger = np.where(best < middle, high - best, low - best)
        near = usable & ((best + move - low < 2 * tolerance) | (high - best - move < 2 * tolerance))
        move = np.where(near, np.copysign(tolerance, middle - best), move)
        previous = np.where(usable, step, larger)
        step = np.where(usable, move, _GOLDEN * larger)
        point = best + np.where(np.abs(step) >= tolerance, step, np.copysign(tolerance, step))
        at_point = free_energy(values, np.clip(point, low, high), shape)
        point = np.clip(point, low, high)

        better = at_point <= at_best
        right = point >= best
        low = np.where(better & right, best, np.where(~better & ~right, point, low))
        high = np.where(better & ~right, best, np.where(~better & right, point, high))
        runner = ~better & ((at_point <= at_second) | (second == best))
        last = ~better & ~runner & ((at_point <= at_third) | (third == best) | (third == second))
        shift = better | runner
        third, at_third = _choose(shift, second, at_second, last, point, at_point, third, at_third)
        second, at_second = _choose(better, best, at_best, runner, point, at_point, second, at_second)
        best, at_best = np.where(better, point, best), np.where(better, at_point, at_best)
    return best


def _vertex(x: Array, w: Array, v: Array, fx: Array, fw: Array, fv: Array) -> tuple[Array, Mask]:
    """The step from x to the vertex of the parabola through three points, and where there is one."""
    r = (x - w) * (fx - fv)
    q = (x - v) * (fx - fw)
    below = 2 * (q - r)
    usable = below != 0
    step = -((x - v) * q - (x - w) * r) / np.where(usable, below, 1.0)
    return np.where(usable, step, 0.0), usable


def _choose(
    first: Mask,
    a: Array,
    at_a: Array,
    then: Mask,
    b: Array,
    at_b: Array,
    c: Array,
    at_c: Array,
) -> tuple[Array, Array]:
    """Points and values: a where `first`, else b where `then`, else c."""
    return np.where(first, a, np.where(then, b, c)), np.where(first, at_a, np.where(then, at_b, at_c))
