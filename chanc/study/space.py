"""What a sampler sees of a model: its channel groups, and the arithmetic of legal widths.

A legal width of a group is a multiple of its quantum, lcm(round_to, step), inside [min_width, max_width].
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

Widths = dict[str, int]
Shape = Mapping[str, float]
"""Proportions of widths by group: any multiple of it means the same."""

Counter = Literal["params", "macs"]

WIDEST = 65536
"""More channels than anything has."""


class Price(Protocol):
    """What widths cost."""

    @property
    def params(self) -> int:
        """Trainable parameters."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers for one input."""


@dataclass(frozen=True)
class SearchGroup:
    """A channel group: `size` channels now, resized in multiples of `step`.

    inner: one layer makes its channels, so that it is no stream that several layers add to.
    """

    id: str
    size: int
    step: int = 1
    resizable: bool = True
    inner: bool = True


@dataclass(frozen=True)
class Space:
    """The groups of a model in a fixed order, and what any widths of them would cost.

    ties: names by group id; groups of one name are scaled by one factor.
    """

    groups: tuple[SearchGroup, ...]
    price: Callable[[Mapping[str, float]], Price] | None = None
    ties: Mapping[str, str] = field(default_factory=dict)

    @property
    def resizable(self) -> tuple[SearchGroup, ...]:
        """The groups that a sampler may change."""
        return tuple(group for group in self.groups if group.resizable)

    @cached_property
    def units(self) -> Mapping[str, tuple[SearchGroup, ...]]:
        """What is decided together, by name: the groups of each tie, and every other resizable group for itself."""
        found: dict[str, tuple[SearchGroup, ...]] = {}
        for group in self.resizable:
            name = self.ties.get(group.id, group.id)
            found[name] = (*found.get(name, ()), group)
        return found

    @property
    def widths(self) -> Widths:
        """The widths that the model has now (channels), of the groups that may change."""
        return {group.id: group.size for group in self.resizable}

    def count(self, widths: Mapping[str, float], counter: Counter) -> int:
        """Parameters or MACs at the given widths; raises ValueError where the space has no price."""
        if self.price is None:
            raise ValueError("this space has no price: targets and budgets need one")
        price = self.price(widths)
        return price.params if counter == "params" else price.macs


@dataclass(frozen=True)
class Limits:
    """Bounds of a width, in channels, and what it must be a multiple of."""

    min_width: int = 16
    max_width: int = 256
    round_to: int = 2

    def quantum(self, group: SearchGroup) -> int:
        """Legal widths of the group are multiples of this many channels."""
        return math.lcm(self.round_to, group.step)

    def bounds(self, group: SearchGroup) -> tuple[int, int]:
        """The smallest and the largest legal width; one quantum at least, where the bounds leave no multiple."""
        quantum = self.quantum(group)
        low = max(1, -(-self.min_width // quantum)) * quantum
        return low, max(low, self.max_width // quantum * quantum)

    def fit(self, width: float, group: SearchGroup) -> int:
        """The legal width next to `width`: quantum * round(width / quantum), half to even, then clamped."""
        quantum, (low, high) = self.quantum(group), self.bounds(group)
        return min(max(quantum * round(width / quantum), low), high)

    def clamp(self, width: float, group: SearchGroup) -> float:
        """The width inside the bounds, not rounded."""
        low, high = self.bounds(group)
        return min(max(width, low), high)

    def real(self, width: int, before: Mapping[str, float], group: SearchGroup) -> float:
        """What a width was before it was rounded; the width itself where it is not the one that this was rounded to."""
        found = before.get(group.id, width)
        return found if self.fit(found, group) == width else width

    def scale(self, space: Space, base: Mapping[str, float], factor: float) -> Widths:
        """Every resizable group of `base` times one factor."""
        return {group.id: self.fit(base[group.id] * factor, group) for group in space.resizable}


def scale_under(
    space: Space, limits: Limits, base: Mapping[str, float], bound: float, counter: Counter
) -> Widths:
    """The largest widths in the proportions of `base` that cost at most `bound`, by bisection of their factor.

    The cost never falls with the factor. Where the bounds keep it too high, what comes back are the smallest widths.
    """
    low, high = 1.0 / 1024, 1024.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        if space.count(limits.scale(space, base, middle), counter) <= bound:
            low = middle
        else:
            high = middle
    return limits.scale(space, base, low)


def generator(seed: int, trial: int, group: str = "") -> np.random.Generator:
    """Random numbers that depend only on (seed, trial, group id), so that a resumed search draws the same ones."""
    return np.random.default_rng([seed, trial, zlib.crc32(group.encode())])
