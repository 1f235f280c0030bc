"""The lowest minimum of the free energy of empirical VBMF, found exactly.

F and g = dF/dt of `chanc.metrics.vb` are smooth between the breakpoints sigma^2 = c_i / xbar, and g' falls with t
there, since x / (tau^2 - alpha) falls with tau. So g is concave on a piece and F has at most one minimum inside it,
where g first crosses zero from below: the candidates are the ends of the pieces and these crossings, and nothing is
left to the luck of a general minimiser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chanc.metrics.vb import Array, Shape, bounds, free_energy, slope

Index = NDArray[np.intp]

_BISECTIONS = 60
_MARGIN = 1e-13
_CELLS = 1 << 22
"""How large B L L may be at once: a matrix has up to L pieces, and F of each is a sum over L values."""


@dataclass(frozen=True)
class _Pieces:
    """Smooth pieces of F, flat over a batch: of matrix `row`, with `count` values above xbar, for t in [low, high]."""

    row: Index
    count: Index
    low: Array
    high: Array

    def __getitem__(self, chosen: Any) -> _Pieces:
        return _Pieces(self.row[chosen], self.count[chosen], self.low[chosen], self.high[chosen])


def lowest_noise_variance(values: Array, shape: Shape) -> Array:
    """The sigma^2 of each matrix, [B], that minimises F within its bounds.

    values: c, [B, L] descending, near 1 in scale; sigma^2 is in the same scale, and 0 for a matrix of zeros.
    """
    low, high = bounds(values, shape)
    variance = np.zeros(len(values))
    live = np.flatnonzero(high > 0)
    rows = max(1, _CELLS // shape.small**2)
    for part in (live[start : start + rows] for start in range(0, len(live), rows)):
        variance[part] = np.exp(_minimise(values[part], np.log(low[part]), np.log(high[part]), shape))
    return variance


def _minimise(values: Array, low: Array, high: Array, shape: Shape) -> Array:
    """ln sigma^2 at the minimum over all candidates, [B]."""
    pieces = _pieces(values, low, high, shape)
    inner = _crossings(values, pieces, shape)
    where = np.concatenate([pieces.low, pieces.high, inner.low])
    row = np.concatenate([pieces.row, pieces.row, inner.row])
    energy = free_energy(values[row], np.exp(where), shape)
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
    # F jumps a little at a breakpoint (xbar is an approximation): stay clear of rounding onto the wrong side of it.
    bottoms, tops = bottoms + _MARGIN, tops - _MARGIN
    keep = tops > bottoms
    keep[np.arange(len(values)), keep.argmax(axis=1)] |= ~keep.any(axis=1)
    row, count = np.nonzero(keep)
    bottom = np.where(keep, bottoms, low[:, None])[row, count]
    return _Pieces(row, count, bottom, np.maximum(tops[row, count], bottom))


def _slope(values: Array, pieces: _Pieces, where: Array, shape: Shape) -> tuple[Array, Array]:
    """g and g' at t = `where` on each piece, [P] each."""
    above = np.arange(values.shape[1]) < pieces.count[:, None]
    return slope(values[pieces.row], above, where, shape)


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
        rise, curve = _slope(values, pieces, middle, shape)
        go_right = curve > 0 if bend else rise < 0
        low, high = np.where(go_right, middle, low), np.where(go_right, high, middle)
    return (low + high) / 2
