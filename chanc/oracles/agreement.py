"""How far two models agree on many inputs, output by output, in running sums.

relative error   ||other - one|| / ||one||
largest error    max |other - one|
correlation      Pearson's, over all entries
same             of scores [N, classes], the share of samples with the same largest entry; of whole numbers, of the
                 entries that are the same
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chanc.errors import ModelError
from chanc.oracles.compare import Array

Floats = NDArray[np.float64]
Kind = Literal["top-1", "entries", ""]


@dataclass(frozen=True)
class Agreement:
    """One output: its shape without the batch, the errors, and over how many samples or entries how many are the same.

    Figures that there aren't are None: whole numbers have no errors, constants no correlation. An error is infinite
    where one of the two isn't finite and the other isn't the same.
    """

    output: str
    shape: tuple[int, ...]
    relative: float | None
    largest: float | None
    correlation: float | None
    same: float | None
    of: Kind
    count: int

    @property
    def error(self) -> float | None:
        """The standard error of `same`, a share of samples."""
        if self.same is None or self.of != "top-1":
            return None
        return math.sqrt(self.same * (1 - self.same) / self.count)


class Tally:
    """What has been seen of one output of two models."""

    def __init__(self, output: str) -> None:
        self.output = output
        self._shape: tuple[int, ...] = ()
        self._of: Kind = ""
        self._same = self._count = self._entries = 0
        self._sums = np.zeros(6)
        self._largest = 0.0
        self._centre: tuple[float, float] | None = None

    def add(self, one: Array, other: Array) -> None:
        """A batch of the output: [B, ...] each. Raises: ModelError for other shapes or kinds of numbers."""
        floats = [np.issubdtype(array.dtype, np.inexact) for array in (one, other)]
        if one.shape != other.shape or floats[0] != floats[1]:
            told = " and ".join(f"{array.dtype} {list(array.shape)}" for array in (one, other))
            raise ModelError(f"output '{self.output}' of the two models can't be compared: {told}")
        self._shape = one.shape[1:]
        if not floats[0]:
            self._tell("entries", one == other)
            return
        if one.ndim == 2 and one.shape[1] > 1:
            self._tell("top-1", one.argmax(1) == other.argmax(1))
        self._add(one.astype(np.float64).ravel(), other.astype(np.float64).ravel())

    def _tell(self, of: Kind, same: Array) -> None:
        self._of = of
        self._same += int(same.sum())
        self._count += same.size

    def _add(self, a: Floats, b: Floats) -> None:
        alike = (a == b) | (np.isnan(a) & np.isnan(b))
        finite = np.isfinite(a) & np.isfinite(b)
        if not (finite | alike).all():
            self._largest = math.inf
        a, b = a[finite], b[finite]
        if not a.size:
            return
        # Moments about the first batch's means: those about 0 would cancel where the mean is large.
        self._centre = self._centre or (float(a.mean()), float(b.mean()))
        x, y, d = a - self._centre[0], b - self._centre[1], b - a
        self._entries += a.size
        self._sums += [x.sum(), y.sum(), x @ x, y @ y, x @ y, d @ d]
        self._largest = max(self._largest, float(np.abs(d).max()))

    def agreement(self) -> Agreement:
        """What all batches say."""
        same = self._same / self._count if self._count else None
        if self._of == "entries":
            return Agreement(self.output, self._shape, None, None, None, same, self._of, self._count)
        return Agreement(
            self.output, self._shape, self._relative(), self._largest, self._correlation(), same, self._of,
            self._count or self._entries,
        )  # fmt: skip

    def _relative(self) -> float | None:
        if math.isinf(self._largest):
            return math.inf
        if self._centre is None:
            return None
        x, _, xx, _, _, dd = self._sums
        squares = xx + 2 * self._centre[0] * x + self._entries * self._centre[0] ** 2
        return 0.0 if not dd else math.sqrt(dd / squares) if squares > 0 else math.inf

    def _correlation(self) -> float | None:
        if not self._entries:
            return None
        x, y, xx, yy, xy, _ = self._sums
        spread = (xx - x * x / self._entries) * (yy - y * y / self._entries)
        return float((xy - x * y / self._entries) / math.sqrt(spread)) if spread > 0 else None
