"""Units that are marked, and with what: only a few of many are ever looked up, so there is no dictionary of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from chanc.analysis.disjoint_set import IntArray

What = TypeVar("What")


class Marks(Mapping[int, What]):
    """For each unit with a marked label, what it was first marked with; `units` has them, ascending."""

    __slots__ = ("_ends", "_first", "_marked", "_unit", "units")

    def __init__(self, unit: IntArray, marked: Sequence[tuple[IntArray, What]]) -> None:
        """`marked` are labels and what they are marked with, in order; `unit` is that of each label."""
        self._unit, self._marked = unit, marked
        self.units = self._first = self._ends = unit[:0]
        if marked:
            self._ends = np.cumsum([labels.size for labels, _ in marked])
            labels = np.concatenate([labels for labels, _ in marked])
            self.units, self._first = np.unique(unit[labels], return_index=True)

    def __repr__(self) -> str:
        return f"<Marks: {self.units.size} units>"

    def __getitem__(self, unit: int) -> What:
        place = int(np.searchsorted(self.units, unit))
        if place == self.units.size or self.units[place] != unit:
            raise KeyError(unit)
        return self._marked[int(np.searchsorted(self._ends, self._first[place], side="right"))][1]

    def __iter__(self) -> Iterator[int]:
        return iter(self.units.tolist())

    def __len__(self) -> int:
        return self.units.size

    def also(self, labels: IntArray, what: What) -> Marks[What]:
        """These and, after them, further ones."""
        return Marks(self._unit, [*self._marked, (labels, what)])
