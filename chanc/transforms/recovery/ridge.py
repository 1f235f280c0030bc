"""A layer's refit: ridge regression of what its weights V leave of their targets, pulled towards V.

    min |X D - R|^2 + k |D|^2,   R = Y - X V - t,   V' = V + D

X and R are centred where the intercept t is free. k is a share of the mean square of a column of X; which one, and
whether V stays, is judged by rows that are held out. Everything for each group of a convolution by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chanc.transforms._edit import Array

SHARES = (1e-6, 1e-4, 1e-2, 1.0)
"""Of the mean square of X's columns, times the number of rows."""
BETTER = 1 - 1e-3
EXACT = 1e-5
"""Relative error under which there is nothing to mend in float32."""
BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Rows:
    """x: [G, R, U], y: [G, R, O/G]; float32 or float64."""

    x: Array
    y: Array

    def where(self, chosen: NDArray[np.bool_]) -> Rows:
        """Some of the rows: chosen [R]."""
        return Rows(self.x[:, chosen], self.y[:, chosen])


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts."""
    return Rows(*(np.concatenate(arrays, axis=1) for arrays in zip(*((part.x, part.y) for part in parts), strict=True)))


@dataclass(frozen=True, slots=True)
class Fit:
    """weight: [G, U, O/G], shift: [G, 1, O/G]; relative errors on the rows that were held out, before and after."""

    weight: Array
    shift: Array
    before: float
    after: float

    @property
    def better(self) -> bool:
        """Whether it is other than the weights as they were."""
        return self.after < self.before


def refit(rows: Rows, held: Rows, weight: Array, shift: Array, *, free: bool) -> Fit:
    """The best fit by the rows that are held out, or the weights as they are; `free` tells whether the shift may move.

    An error is relative to the spread of y: the root of the ratio of sums of squares.
    """
    if not rows.x.shape[1] or not held.x.shape[1]:
        return Fit(weight, shift, np.nan, np.nan)
    spread = float(((held.y - held.y.mean(axis=1, keepdims=True, dtype=np.float64)) ** 2).sum())
    rest, judged = (_rest(part, weight, shift) for part in (rows, held))
    before = _relative(judged, spread)
    best = Fit(weight, shift, before, before)
    if before < EXACT:
        return best
    x_mean, r_mean = (part.mean(axis=1, keepdims=True, dtype=np.float64) * free for part in (rows.x, rest))
    bar = before * BETTER
    for change in _solutions(rows.x, rest, x_mean, r_mean):
        move = r_mean - x_mean @ change
        after = _relative(judged - held.x @ change - move, spread)
        if after < min(bar, best.after):
            best = Fit(weight + change, shift + move, before, after)
    return best


def _rest(rows: Rows, weight: Array, shift: Array) -> Array:
    return np.asarray(rows.y - rows.x @ weight - shift)


def _relative(rest: Array, spread: float) -> float:
    return float(np.sqrt((rest**2).sum() / max(spread, 1e-30)))


def _solutions(x: Array, rest: Array, x_mean: Array, r_mean: Array) -> list[Array]:
    """D for each share of ridge, [G, U, O/G] each: by the columns' products, or the rows' where they are fewer."""
    groups, count, unknowns = x.shape
    dual = count < unknowns
    side = count if dual else unknowns
    gram = np.zeros((groups, side, side))
    cross = np.zeros((groups, unknowns, rest.shape[2]))
    if dual:
        wide = x - x_mean
        gram = wide @ wide.transpose(0, 2, 1)
    else:
        for start in range(0, count, BLOCK):
            part = (x[:, start : start + BLOCK] - x_mean).transpose(0, 2, 1)
            gram += part @ part.transpose(0, 2, 1)
            cross += part @ (rest[:, start : start + BLOCK] - r_mean)
    mean_square = np.trace(gram, axis1=1, axis2=2)[:, None, None] / unknowns
    found = []
    for share in SHARES:
        damped = gram + (share * mean_square + np.finfo(np.float64).tiny) * np.eye(side)
        if dual:
            found.append(wide.transpose(0, 2, 1) @ np.linalg.solve(damped, rest - r_mean))
        else:
            found.append(np.linalg.solve(damped, cross))
    return found
