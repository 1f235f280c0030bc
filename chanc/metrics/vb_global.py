"""The lowest minimum of the free energy of empirical VBMF, found exactly.

F and g = dF/dt of `chanc.metrics.vb` are smooth between the breakpoints sigma^2 = c_i / xbar, and g' falls with t
there, since x / (tau^2 - alpha) falls with tau. So g is concave on a piece and F has at most one minimum inside it,
where g first crosses zero from below: the candidates are the ends of the pieces and these crossings, and nothing is
left to the luck of a general minimiser.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from chanc.metrics.vb import Array, Held, Index, Spectra, bounds

_BISECTIONS = 60
_MARGIN = 1e-13
_CELLS = 1 << 22
"""How many values may be gone through at once: a matrix has up to L pieces, and F of each is a sum over up to L."""


@dataclass(frozen=True)
class _Pieces:
    """Smooth pieces of F: of matrix `row`, with `count` values above xbar, for t in [low, high], [P] each."""

    spectra: Spectra
    row: Index
    count: Index
    low: Array
    high: Array

    def __getitem__(self, chosen: Any) -> _Pieces:
        return _Pieces(self.spectra, self.row[chosen], self.count[chosen], self.low[chosen], self.high[chosen])

    @cached_property
    def held(self) -> Held:
        """F on each."""
        return Held(self.spectra, self.row, self.count)


def lowest_noise_variance(spectra: Spectra) -> Array:
    """The sigma^2 of each matrix, [B], that minimises F within its bounds; 0 for a matrix of zeros.

    spectra: near 1 in scale; sigma^2 is in the same scale.
    """
    low, high = bounds(spectra)
    variance = np.zeros(len(spectra))
    live = np.flatnonzero(high > 0)
    share = np.cumsum(spectra.small[live] ** 2) // _CELLS
    for part in np.split(live, np.flatnonzero(np.diff(share)) + 1) if len(live) else ():
        variance[part] = np.exp(_minimise(spectra[part], np.log(low[part]), np.log(high[part])))
    return variance


def _minimise(spectra: Spectra, low: Array, high: Array) -> Array:
    """ln sigma^2 at the minimum over all candidates, [B]."""
    pieces = _pieces(spectra, low, high)
    inner = _crossings(pieces)
    where = np.concatenate([pieces.low, pieces.high, inner.low])
    row = np.concatenate([pieces.row, pieces.row, inner.row])
    ends = pieces.held.energy(pieces.low), pieces.held.energy(pieces.high)
    energy = np.concatenate([*ends, inner.held.energy(inner.low)])
    order = np.lexsort((where, energy, row))
    first = np.searchsorted(row[order], np.arange(len(spectra)))
    best: Array = where[order[first]]
    return best


def _pieces(spectra: Spectra, low: Array, high: Array) -> _Pieces:
    """Cut [low, high] at the breakpoints ln(c_i / xbar); the piece with k values above xbar is [cut_k+1, cut_k]."""
    with np.errstate(divide="ignore"):
        cuts = np.log(spectra.values / spectra.over(spectra.xbar))
    row = np.repeat(np.arange(len(spectra)), spectra.small + 1)
    first = spectra.starts + np.arange(len(spectra))
    tops = np.clip(np.insert(cuts, spectra.starts, np.inf), low[row], high[row])
    bottoms = np.clip(np.insert(cuts, spectra.starts + spectra.small, -np.inf), low[row], high[row])
    # F jumps a little at a breakpoint (xbar is an approximation): stay clear of rounding onto the wrong side of it.
    bottoms, tops = bottoms + _MARGIN, tops - _MARGIN
    keep = tops > bottoms
    keep[first] |= ~np.logical_or.reduceat(keep, first)
    count = np.arange(len(row)) - first[row]
    return _Pieces(spectra, row[keep], count[keep], bottoms[keep], np.maximum(tops, bottoms)[keep])


def _crossings(pieces: _Pieces) -> _Pieces:
    """The pieces with a minimum inside, `low` moved onto it."""
    left, left_bend = pieces.held.slope(pieces.low)
    right, right_bend = pieces.held.slope(pieces.high)
    width = pieces.high - pieces.low
    # A concave g stays under its tangents at both ends, so most pieces are ruled out without a search.
    hump = (left < 0) & (right <= 0) & (left_bend > 0) & (right_bend < 0) & (left + left_bend * width > 0)
    peaked = pieces[hump]
    peak = _bisect(peaked, bend=True)
    rises = peaked.held.slope(peak)[0] > 0
    plain = pieces[(left < 0) & (right > 0)]
    inside = _Pieces(
        pieces.spectra,
        np.concatenate([plain.row, peaked.row[rises]]),
        np.concatenate([plain.count, peaked.count[rises]]),
        np.concatenate([plain.low, peaked.low[rises]]),
        np.concatenate([plain.high, peak[rises]]),
    )
    root = _bisect(inside, bend=False)
    return replace(inside, low=root, high=root)


def _bisect(pieces: _Pieces, *, bend: bool) -> Array:
    """Where g' falls through zero (`bend`), or where g rises through it, on each piece: [P]."""
    low, high = pieces.low, pieces.high
    for _ in range(_BISECTIONS if len(low) else 0):
        middle = (low + high) / 2
        rise, curve = pieces.held.slope(middle)
        go_right = curve > 0 if bend else rise < 0
        low, high = np.where(go_right, middle, low), np.where(go_right, high, middle)
    return (low + high) / 2
