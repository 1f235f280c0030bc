"""Budgets: a sampler's proposal is brought under them by scaling all groups down by one factor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from chanc.errors import RunError
from chanc.study.space import Counter, Limits, Space, Widths, scale_to

Latency = Callable[[Widths], float]
"""Seconds that a model of the given widths takes for one input."""

STEPS = 7
"""Bisection steps for a latency: each one builds and times a model."""


@dataclass(frozen=True)
class Budget:
    """Upper bounds; None bounds nothing. max_latency is in milliseconds, measured in onnxruntime on this machine."""

    max_params: int | None = None
    max_macs: int | None = None
    max_latency: float | None = None

    def check(self, space: Space, limits: Limits) -> None:
        """Raise RunError where not even the smallest widths fit the counted budgets."""
        least = {group.id: limits.bounds(group)[0] for group in space.resizable}
        for counter, bound in self.counted():
            cost = space.count(least, counter)
            if cost > bound:
                raise RunError(
                    f"the budget of {bound:,} {counter} can't be met: the smallest widths allowed cost {cost:,} "
                    f"(see --min-width)"
                )

    def counted(self) -> list[tuple[Counter, int]]:
        """The bounds that are counted, not measured."""
        bounds: list[tuple[Counter, int | None]] = [("params", self.max_params), ("macs", self.max_macs)]
        return [(counter, bound) for counter, bound in bounds if bound is not None]

    def project(self, space: Space, limits: Limits, widths: Widths, latency: Latency | None = None) -> Widths:
        """The widths themselves where they fit, else the largest ones in the same proportions that do."""
        for counter, bound in self.counted():
            if space.count(widths, counter) > bound:
                widths = scale_to(space, limits, _floats(widths), bound, counter, nearest=False)
        if self.max_latency is not None and latency is not None:
            widths = self._under_latency(space, limits, widths, latency, self.max_latency / 1e3)
        return widths

    def _under_latency(self, space: Space, limits: Limits, widths: Widths, latency: Latency, bound: float) -> Widths:
        if latency(widths) <= bound:
            return widths
        best = limits.scale(space, _floats(widths), 1 / 1024)
        low, high = 1 / 64, 1.0
        for _ in range(STEPS):
            middle = math.sqrt(low * high)
            candidate = limits.scale(space, _floats(widths), middle)
            if latency(candidate) <= bound:
                low, best = middle, candidate
            else:
                high = middle
        return best


def _floats(widths: Widths) -> dict[str, float]:
    return {gid: float(width) for gid, width in widths.items()}
