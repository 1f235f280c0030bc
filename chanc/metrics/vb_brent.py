"""The minimum of the free energy of empirical VBMF that Brent's bounded search ends in.

The figures published for CONet come from such a search: where F has several minima, it ends in the one that its
golden-section steps meet first, which may hang on the last bits of the weights. `chanc.metrics.vb_global` finds the
lowest of all minima instead; this one is for those who repeat published searches. It takes its last steps by Newton's
method on g, since F is flat to float64's precision within sqrt(eps) of a minimum.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from chanc.metrics.vb import Array, Held, Index, Mask, Spectra, above, bounds, free_energy

_GOLDEN = (3 - math.sqrt(5)) / 2
_STEPS = 200
_TOLERANCE = 1e-9
"""Of sigma^2, relative to its upper bound."""
_NEWTON = 4
_REACH = 1e-4
"""Of ln sigma^2: how far from Brent's answer its minimum may be."""


class _Search(NamedTuple):
    """Where the search of each matrix stands, [P] each.

    The bracket is [low, high]; best, second, third are the points of the lowest values of F so far, with these values.
    """

    low: Array
    high: Array
    best: Array
    second: Array
    third: Array
    at_best: Array
    at_second: Array
    at_third: Array
    step: Array
    previous: Array


def brent_noise_variance(spectra: Spectra) -> Array:
    """The sigma^2 of each matrix, [B], at the minimum of F that Brent's bounded search finds; 0 for a matrix of zeros.

    spectra: near 1 in scale; sigma^2 is in the same scale.
    """
    low, high = bounds(spectra)
    variance = np.zeros(len(spectra))
    live = np.flatnonzero(high > 0)
    if len(live):
        near = _brent(spectra, live, low[live], high[live])
        variance[live] = _polish(spectra, live, near, low[live], high[live])
    return variance


def _polish(spectra: Spectra, row: Index, near: Array, low: Array, high: Array) -> Array:
    """Newton's method on g from a point beside a minimum; the point itself where the minimum is an end of a piece."""
    count = above(spectra, row, near)
    held = Held(spectra, row, count)
    start = np.log(near)
    where = start
    for _ in range(_NEWTON):
        rise, bend = held.slope(where)
        step = np.where(bend > 0, rise / np.where(bend > 0, bend, 1.0), 0.0)
        where = np.clip(where - step, start - _REACH, start + _REACH)
    found = np.exp(where)
    inside = (found >= low) & (found <= high) & (above(spectra, row, found) == count)
    return np.where(inside & (np.abs(where - start) < _REACH), found, near)


def _brent(spectra: Spectra, row: Index, low: Array, high: Array) -> Array:
    """Brent's minimisation without derivatives (1973, chapter 5) on [low, high], [P], of matrices `row`.

    All step at once, but one that is done stays as it is: no answer depends on the others.
    """
    tolerance = _TOLERANCE * high
    best = low + _GOLDEN * (high - low)
    at_best = free_energy(spectra, row, best)
    still = np.zeros_like(best)
    search = np.array(_Search(low, high, best, best, best, at_best, at_best, at_best, still, still))
    live = np.arange(len(row))
    for _ in range(_STEPS):
        live = live[_open(_Search(*search[:, live]), tolerance[live])]
        if not len(live):
            break
        search[:, live] = _advance(_Search(*search[:, live]), tolerance[live], spectra, row[live])
    return _Search(*search).best


def _open(at: _Search, tolerance: Array) -> Mask:
    """Where the bracket is still wider than the tolerance."""
    wide: Mask = np.abs(at.best - (at.low + at.high) / 2) > 2 * tolerance - (at.high - at.low) / 2
    return wide


def _advance(at: _Search, tolerance: Array, spectra: Spectra, row: Index) -> _Search:
    """One step, with F at its end."""
    step, previous = _next_step(at, tolerance)
    point = at.best + np.where(np.abs(step) >= tolerance, step, np.copysign(tolerance, step))
    point = np.clip(point, at.low, at.high)
    at_point = free_energy(spectra, row, point)

    better, right = at_point <= at.at_best, point >= at.best
    low = np.where(better & right, at.best, np.where(~better & ~right, point, at.low))
    high = np.where(better & ~right, at.best, np.where(~better & right, point, at.high))
    runner = ~better & ((at_point <= at.at_second) | (at.second == at.best))
    last = ~better & ~runner & ((at_point <= at.at_third) | (at.third == at.best) | (at.third == at.second))
    best, at_best = np.where(better, point, at.best), np.where(better, at_point, at.at_best)
    second = np.select([better, runner], [at.best, point], at.second)
    at_second = np.select([better, runner], [at.at_best, at_point], at.at_second)
    third = np.select([better | runner, last], [at.second, point], at.third)
    at_third = np.select([better | runner, last], [at.at_second, at_point], at.at_third)
    return _Search(low, high, best, second, third, at_best, at_second, at_third, step, previous)


def _next_step(at: _Search, tolerance: Array) -> tuple[Array, Array]:
    """The step from the best point and the one before it.

    It goes to the vertex of the parabola through the three points if that lies inside the bracket and steps shrink fast
    enough, else it cuts the bracket's larger part.
    """
    middle = (at.low + at.high) / 2
    move, usable = _vertex(at)
    usable &= (np.abs(at.previous) > tolerance) & (np.abs(move) < np.abs(at.previous) / 2)
    usable &= (at.best + move > at.low) & (at.best + move < at.high)
    larger = np.where(at.best < middle, at.high - at.best, at.low - at.best)
    near = usable & ((at.best + move - at.low < 2 * tolerance) | (at.high - at.best - move < 2 * tolerance))
    move = np.where(near, np.copysign(tolerance, middle - at.best), move)
    return np.where(usable, move, _GOLDEN * larger), np.where(usable, at.step, larger)


def _vertex(at: _Search) -> tuple[Array, Mask]:
    """The step from the best point to the vertex of the parabola through all three, and where there is one."""
    second, third = at.best - at.second, at.best - at.third
    r = second * (at.at_best - at.at_third)
    q = third * (at.at_best - at.at_second)
    below = 2 * (q - r)
    usable = below != 0
    step = -(third * q - second * r) / np.where(usable, below, 1.0)
    return np.where(usable, step, 0.0), usable
