"""Budgets of trials: ceilings, under which a proposal is scaled down, and targets, which every trial is brought to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from chanc.errors import PlanError, RunError
from chanc.rewriter.budget import amount
from chanc.study.space import Counter, Limits, Shape, Space, Widths, scale_under
from chanc.study.targets import CLOSE, project

Latency = Callable[[Widths], float]
"""Seconds that a model of the given widths takes for one input."""

STEPS = 7
"""Bisection steps for a latency: each one builds and times a model."""

PROBES = 6
"""How often a latency is measured for one trial: each time builds a model."""

NEAR = 0.02
"""Relative distance from a latency below which nothing is gained: its measurement isn't better than that."""


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
                widths = scale_under(space, limits, _floats(widths), bound, counter)
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


@dataclass(frozen=True)
class Target:
    """What trials shall cost, numbers or shares of what the model has ("25%"); latency: milliseconds of one input."""

    params: int | str | None = None
    macs: int | str | None = None
    latency: float | str | None = None

    def __bool__(self) -> bool:
        return self != Target()

    def fault(self) -> str:
        """What is wrong with it, in one line; empty where nothing is."""
        for name, value in vars(self).items():
            try:
                if value is not None:
                    amount(value, 1.0)
            except PlanError:
                return f"target_{name} {value!r} is neither a number above 0 nor a share such as 25%"
        if self.latency is not None and (self.params, self.macs) != (None, None):
            return "target_latency goes with no other target: widths have one scale"
        return ""

    def counts(self, space: Space) -> dict[Counter, float]:
        """The targets that are counted, in numbers."""
        asked: dict[Counter, int | str | None] = {"params": self.params, "macs": self.macs}
        return {counter: amount(value, space.count(space.widths, counter))
                for counter, value in asked.items() if value is not None}  # fmt: skip

    def check(self, space: Space, limits: Limits) -> None:
        """Raise RunError for targets that no widths within the bounds can have."""
        low, high = ({group.id: limits.bounds(group)[end] for group in space.resizable} for end in (0, 1))
        for counter, target in self.counts(space).items():
            least, most = space.count(low, counter), space.count(high, counter)
            if not least * (1 - CLOSE) <= target <= most * (1 + CLOSE):
                raise RunError(f"the target of {target:,.0f} {counter} can't be met: the widths allowed cost {least:,} "
                               f"to {most:,} (see --min-width and --max-width)")  # fmt: skip

    def project(self, space: Space, limits: Limits, widths: Widths, latency: Latency, *, bend: bool = True) -> Widths:
        """Widths brought to the target, measured or counted; without one they stay, but for ties."""
        return self.reached(space, limits, widths, latency, bend=bend) if self or space.ties else widths

    def reached(self, space: Space, limits: Limits, shape: Shape, latency: Latency, *, bend: bool = True) -> Widths:
        """Legal widths in the proportions of a shape, at the target."""
        if self.latency is not None:
            tied = project(space, limits, shape, {})
            return _at_latency(space, limits, tied, self.seconds(lambda: latency(space.widths)), latency)
        return project(space, limits, shape, self.counts(space), bend=bend)

    def seconds(self, own: Callable[[], float]) -> float:
        """The latency that is aimed at; `own`: measures that of the model, where it is a share of it."""
        assert self.latency is not None
        whole = own() if isinstance(self.latency, str) and self.latency.endswith("%") else 0.0
        return amount(self.latency, whole * 1e3) / 1e3


def _at_latency(space: Space, limits: Limits, shape: Shape, target: float, latency: Latency) -> Widths:
    """Widths in these proportions whose latency comes nearest to `target` seconds, in a few probes.

    A latency is taken to grow with the square of the widths until there is one on either side of the target; then each
    probe halves the way between them.
    """
    factor, low, high = 1.0, 0.0, math.inf
    nearest: tuple[float, Widths] = (math.inf, {})
    for _ in range(PROBES):
        widths = limits.scale(space, shape, factor)
        ratio = latency(widths) / target
        nearest = min(nearest, (abs(ratio - 1), widths), key=lambda one: one[0])
        if nearest[0] <= NEAR:
            break
        low, high = (low, factor) if ratio > 1 else (factor, high)
        factor = math.sqrt(low * high) if low > 0 and high < math.inf else factor / math.sqrt(ratio)
    return nearest[1]


def _floats(widths: Widths) -> dict[str, float]:
    return {gid: float(width) for gid, width in widths.items()}
