"""A random graph while it grows: what the steps see of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from chanc.testing.graphs import Graph, Tensor

T = TypeVar("T")
WIDTHS = (4, 5, 6, 8, 10, 12, 16)
MOST_CHANNELS = 48


class Draws(Protocol):
    """Where random choices come from."""

    def below(self, count: int) -> int:
        """An integer in 0..count-1; 0 is the simplest."""


@dataclass
class Growth:
    """A graph while it grows: the live tensors, of which `unread` are outputs if nothing else reads them."""

    draws: Draws
    graph: Graph
    openness: int
    live: list[Tensor] = field(default_factory=list)
    unread: dict[str, Tensor] = field(default_factory=dict)
    shared: list[Tensor] = field(default_factory=list)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.draws.below(len(options))]

    def chance(self, one_in: int) -> bool:
        """True once in so many."""
        return self.draws.below(one_in) == one_in - 1

    def tensor(self) -> Tensor:
        """A live tensor, a recent one more often than not."""
        back = self.draws.below(min(3, len(self.live))) if self.draws.below(2) else self.draws.below(len(self.live))
        return self.live[-1 - back]

    def add(self, made: Tensor, *read: Tensor) -> None:
        """A new live tensor, and what it was made from."""
        for tensor in read:
            self.unread.pop(tensor.name, None)
        self.live.append(made)
        self.unread[made.name] = made

    def divisor(self, size: int) -> int:
        """A divisor of a size, longer than 1 where there is one."""
        found = [n for n in range(2, size) if size % n == 0]
        return self.pick(found) if found else size
