"""A layer's refit: ridge regression of what its weights V leave of their targets, pulled towards V.

    min |X D - R|^2 + k |D|^2,   R = Y - X V - t,   V' = V + D

X and R are centred where the intercept t is free. k is a share of the mean square of a column of X; which one, and
whether V stays, is judged by rows that are held out. Then these count, too. Everything for each group of a convolution
by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chanc.transforms._edit import Array

SHARES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
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
    """weight: [G, U, O/G], shift: [G, 1, O/G]; relative errors on the rows that were held out, before and after.

    The errors are those of the fit without them.
    """

    weight: Array
    shift: Array
    before: float
    after: float

    @property
    def better(self) -> bool:
        """Whether it is other than the weights as they were."""
        return self.after < self.before


def refit(rows: Rows, fitted: int, weight: Array, shift: Array, *, free: bool) -> Fit:
    """The best fit, or the weights as they are, by the rows behind the first `fitted`, which are held out.

    An error is relative to the spread of y: the root of the ratio of sums of squares. `free` tells whether the shift
    may move.
    """
    held_x, held_y = rows.x[:, fitted:], rows.y[:, fitted:]
    if not fitted or not held_y.shape[1]:
        return Fit(weight, shift, np.nan, np.nan)
    rest = rows.y - rows.x @ weight - shift
    spread = max(float(((held_y - held_y.mean(axis=1, keepdims=True, dtype=np.float64)) ** 2).sum()), 1e-30)

    def error(change: Array, move: Array) -> float:
        return float(np.sqrt(((rest[:, fitted:] - held_x @ change - move) ** 2).sum() / spread))

    before = float(np.sqrt((rest[:, fitted:] ** 2).sum() / spread))
    if before < EXACT:
        return Fit(weight, shift, before, before)
    share, after = _best(_Problem(rows.x[:, :fitted], rest[:, :fitted], free), error)
    if not after < before * BETTER:
        return Fit(weight, shift, before, before)
    change, move = _Problem(rows.x, rest, free).solve(share)
    return Fit(weight + change, shift + move, before, after)


class _Problem:
    """X: [G, R, U], R: [G, R, O/G]. Solved by the products of the columns, or of the rows where they are fewer."""

    def __init__(self, x: Array, rest: Array, free: bool) -> None:
        self._means = tuple(part.mean(axis=1, keepdims=True, dtype=np.float64) * free for part in (x, rest))
        x_mean, r_mean = self._means
        self._unknowns = x.shape[2]
        self._wide = x - x_mean if x.shape[1] < x.shape[2] else None
        if self._wide is not None:
            self._gram, self._right = self._wide @ self._wide.transpose(0, 2, 1), rest - r_mean
            return
        self._gram, self._right = (np.zeros((len(x), x.shape[2], size)) for size in (x.shape[2], rest.shape[2]))
        for start in range(0, x.shape[1], BLOCK):
            part = (x[:, start : start + BLOCK] - x_mean).transpose(0, 2, 1)
            self._gram += part @ part.transpose(0, 2, 1)
            self._right += part @ (rest[:, start : start + BLOCK] - r_mean)

    def solve(self, share: float) -> tuple[Array, Array]:
        """D [G, U, O/G], and by how much the intercept moves, [G, 1, O/G], for a share of ridge."""
        mean_square = np.trace(self._gram, axis1=1, axis2=2)[:, None, None] / self._unknowns
        damped = self._gram + (share * mean_square + np.finfo(np.float64).tiny) * np.eye(self._gram.shape[1])
        change = np.linalg.solve(damped, self._right)
        if self._wide is not None:
            change = self._wide.transpose(0, 2, 1) @ change
        x_mean, r_mean = self._means
        return change, r_mean - x_mean @ change


def _best(problem: _Problem, error: Callable[[Array, Array], float]) -> tuple[float, float]:
    """The share of the least error, and that: the first valley, from the middle of the shares."""
    known: dict[int, float] = {}

    def at(place: int) -> float:
        if not 0 <= place < len(SHARES):
            return np.inf
        if place not in known:
            known[place] = error(*problem.solve(SHARES[place]))
        return known[place]

    place = len(SHARES) // 2
    for step in (1, -1):
        while at(place + step) < at(place):
            place += step
    return SHARES[place], at(place)
