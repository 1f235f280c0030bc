"""The one-dimensional search of empirical VBMF: the noise variance that minimises the free energy, exactly.

Nakajima, Sugiyama, Babacan and Tomioka, "Global analytic solution of fully-observed variational Bayesian matrix
factorization" (JMLR 14, 2013). For an L x M matrix, L <= M, alpha = L/M, with c_i = s_i^2 / M and x_i = c_i / sigma^2:

    F(sigma^2) = sum_{x <= xbar} (x - ln x)
               + sum_{x >  xbar} (x - tau + ln((tau + 1) / x) + alpha ln(tau / alpha + 1))
    tau(x) = (x - (1 + alpha) + sqrt((x - (1 + alpha))^2 - 4 alpha)) / 2
    xbar = (1 + t)(1 + alpha / t),  t = 2.5129 sqrt(alpha)

F is smooth between the breakpoints sigma^2 = c_i / xbar. Over t = ln sigma^2 its slope there, with the k largest values
above xbar, is g(t) = sum_{i > k} (1 - x_i) - alpha sum_{i <= k} (1 + 1 / tau_i), and

    g'(t) = sum_{i > k} x_i - alpha sum_{i <= k} x_i / (tau_i^2 - alpha)

falls with t, since x / (tau^2 - alpha) falls with tau. So g is concave on a piece and F has at most one minimum inside
it, where g first crosses zero from below: the candidates are the ends of the pieces and these crossings, and nothing is
left to the tolerance of a general minimiser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_BISECTIONS = 60


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
        tau = 2.5129 * self.alpha**0.5
        return (1 + tau) * (1 + self.alpha / tau)

    @property
    def first_noise(self) -> int:
        """The 0-based index of the largest singular value that the bound of sigma^2 holds to be noise."""
        return min(int(np.ceil(self.small / (1 + self.alpha))) - 1, self.small)


@dataclass(frozen=True)
class _Pieces:
    """Smooth pieces of the free energies of a batch, flat: matrix `row`, `count` values above xbar, t in [low, high]."""

    row: Index
    count: Index
    low: Array
    high: Array

    def __getitem__(self, chosen: Any) -> _Pieces:
        return _Pieces(self.row[chosen], self.count[chosen], self.low[chosen], self.high[chosen])


def noise_variance(values: Array, shape: Shape) -> Array:
    """The sigma^2 of each matrix that minimises F within the paper's bounds.

    values: squared singular values over M, [B, L], descending, scaled so that the largest is near 1; sigma^2 comes back
    in the same scale, [B]. A matrix of zeros has sigma^2 = 0.
    """
    low, high = _bounds(values, shape)
    variance = np.zeros(len(values))
    live = np.flatnonzero(high > 0)
    if len(live):
        variance[live] = np.exp(_minimise(values[live], np.log(low[live]), np.log(high[live]), shape))
    return variance


def _bounds(values: Array, shape: Shape) -> tuple[Array, Array]:
    """The bounds of sigma^2, [B] each; the lower one is kept above the rounding error of the values."""
    high = values.mean(axis=1)
    tail = values[:, shape.first_noise :]
    rounding = shape.small * np.finfo(np.float64).eps * values[:, 0]
    low = np.maximum(np.maximum(tail[:, 0], rounding) / shape.xbar, tail.mean(axis=1))
    return np.minimum(low, high), high


def _minimise(values: Array, low: Array, high: Array, shape: Shape) -> Array:
    """ln sigma^2 at the minimum over all candidates, [B]."""
    pieces = _pieces(values, low, high, shape)
    inner = _crossings(values, pieces, shape)
    where = np.concatenate([pieces.low, pieces.high, inner.low])
    row = np.concatenate([pieces.row, pieces.row, inner.row])
    count = np.concatenate([pieces.count, pieces.count, inner.count])
    energy = _free_energy(values, row, count, where, shape)
    order = np.lexsort((where, energy, row))
    first = np.searchsorted(row[order], np.arange(len(values)))
    best: Array = where[order[first]]
    return best


def _pieces(values: Array, low: Array, high: Array, shape: Shape) -> _Pieces:
    """Cut [low, high] at the breakpoints ln(c_i / xbar); the piece with k values above xbar is [cut_k+1, cut_k]."""
    with np.errstate(divide="ignore"):
        cuts = np.log(values / shape.xbar)
    edges = np.concatenate([np.full((len(values), 1), np.inf), cuts, np.full((len(values), 1), -np.inf)], axis=1)
    edges = np.clip(edges, low[:, None], high[:, None])
    tops, bottoms = edges[:, :-1], edges[:, 1:]
    keep = tops > bottoms
    keep[np.arange(len(values)), keep.argmax(axis=1)] |= ~keep.any(axis=1)
    row, count = np.nonzero(keep)
    return _Pieces(row, count, bottoms[row, count], tops[row, count])


def _terms(values: Array, row: Index, count: Index, where: Array, shape: Shape) -> tuple[Array, Array, NDArray[np.bool_]]:
    """x, tau (1 where x is not above xbar) and the mask of those above, [P, L] each."""
    x = values[row] * np.exp(-where)[:, None]
    above = np.arange(values.shape[1]) < count[:, None]
    shifted = x - (1 + shape.alpha)
    tau = (shifted + np.sqrt(np.maximum(shifted**2 - 4 * shape.alpha, 0.0))) / 2
    return x, np.where(above, tau, 1.0), above


def _free_energy(values: Array, row: Index, count: Index, where: Array, shape: Shape) -> Array:
    """F at t = `where` for each point, [P], less the constant of the values that are exactly zero."""
    x, tau, above = _terms(values, row, count, where, shape)
    logs = np.log(np.where(values > 0, values, 1.0))[row] - where[:, None]
    alpha = shape.alpha
    signal = np.log(tau + 1) + alpha * np.log(tau / alpha + 1) - tau
    energy: Array = (x - logs + np.where(above, signal, 0.0)).sum(axis=1)
    return energy


def _slope(values: Array, pieces: _Pieces, where: Array, shape: Shape) -> tuple[Array, Array]:
    """g and g' at t = `where` on each piece, [P] each."""
    x, tau, above = _terms(values, pieces.row, pieces.count, where, shape)
    alpha = shape.alpha
    slope = np.where(above, -alpha * (1 + 1 / tau), 1 - x).sum(axis=1)
    bend = np.where(above, -alpha * x / np.where(above, tau**2 - alpha, 1.0), x).sum(axis=1)
    return slope, bend


def _crossings(values: Array, pieces: _Pieces, shape: Shape) -> _Pieces:
    """The pieces with a minimum inside, `low` moved onto it."""
    left, left_bend = _slope(values, pieces, pieces.low, shape)
    right, right_bend = _slope(values, pieces, pieces.high, shape)
    width = pieces.high - pieces.low
    # A concave g stays under its tangents at both ends, so most pieces are ruled out without a search.
    hump = (left < 0) & (right <= 0) & (left_bend > 0) & (right_bend < 0) & (left + left_bend * width > 0)
    peaked = pieces[hump]
    peak = _bisect(values, peaked, shape, bend=True)
    rises = _slope(values, peaked, peak, shape)[0] > 0
    plain = pieces[(left < 0) & (right > 0)]
    inside = _Pieces(
        np.concatenate([plain.row, peaked.row[rises]]),
        np.concatenate([plain.count, peaked.count[rises]]),
        np.concatenate([plain.low, peaked.low[rises]]),
        np.concatenate([plain.high, peak[rises]]),
    )
    root = _bisect(values, inside, shape, bend=False)
    return _Pieces(inside.row, inside.count, root, root)


def _bisect(values: Array, pieces: _Pieces, shape: Shape, *, bend: bool) -> Array:
    """Where g' falls through zero (`bend`), or where g rises through it, on each piece: [P]."""
    low, high = pieces.low.copy(), pieces.high.copy()
    for _ in range(_BISECTIONS if len(low) else 0):
        middle = (low + high) / 2
        slope, curve = _slope(values, pieces, middle, shape)
        go_right = curve > 0 if bend else slope < 0
        low, high = np.where(go_right, middle, low), np.where(go_right, high, middle)
    return (low + high) / 2
