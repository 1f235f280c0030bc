"""What a resize does to each axis of each initializer, written out for the transfer methods."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, overload

import numpy as np

from chanc.analysis.disjoint_set import IntArray
from chanc.rewriter.axis_maps import occurrence


@dataclass(frozen=True, slots=True)
class Part:
    """The units of one group on an axis: positions before [n, k] and after [n', k], a row a unit.

    `source[j]` is the old unit whose values new unit j takes. `divisible` tells whether consumers' weights can be
    shared out among copies; else the first one keeps them. `group` is the group's id. `drawable` tells whether new
    units may be drawn anew. `turn[j]` counts the earlier new units that share the source of unit j: 0 for the first.
    """

    old: IntArray
    new: IntArray
    source: IntArray
    divisible: bool = True
    group: str = ""
    drawable: bool = True
    turn: IntArray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "turn", occurrence(self.source))  # once: many operands share a part

    def __repr__(self) -> str:
        return f"<Part: {self.old.shape[0]} units become {self.new.shape[0]}>"

    @property
    def repeats(self) -> bool:
        """Whether any unit is there more than once."""
        return bool(self.turn.any())

    @property
    def later(self) -> IntArray:
        """The positions of second and later copies."""
        return np.asarray(self.new[self.turn > 0].ravel())

    @property
    def copies(self) -> IntArray:
        """How many new units share the source of unit j: [n']."""
        return np.bincount(self.source, minlength=self.old.shape[0])[self.source]


class Gone(Sequence[Part]):
    """The parts of an axis from which units only go, made when they are looked at: most methods don't."""

    def __init__(self, make: Callable[[], tuple[Part, ...]]) -> None:
        self._make = make

    @functools.cached_property
    def _parts(self) -> tuple[Part, ...]:
        return self._make()

    @overload
    def __getitem__(self, index: int) -> Part: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Part, ...]: ...
    def __getitem__(self, index: int | slice) -> Part | tuple[Part, ...]:
        return self._parts[index]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts)


@dataclass(frozen=True, slots=True)
class AxisEdit:
    """One axis of a tensor: `source` gives the old position for each new one, `parts` the resized groups on it."""

    axis: int
    role: Literal["producer", "consumer", "follower"]
    source: IntArray
    parts: Sequence[Part]

    def __repr__(self) -> str:
        return f"<AxisEdit of axis {self.axis} ({self.role}): {self.source.size} positions of {len(self.parts)} groups>"

    @property
    def repeats(self) -> bool:
        """Whether any unit is there more than once."""
        return not isinstance(self.parts, Gone) and any(part.repeats for part in self.parts)
