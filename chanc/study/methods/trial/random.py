"""Random scaling, the second baseline: random widths of equal cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from chanc.runs import State
from chanc.study.methods.protocol import Measurement
from chanc.study.methods.registry import register
from chanc.study.methods.sampler import Proposal, Sampler
from chanc.study.methods.trial._common import keep_best
from chanc.study.space import Space, Widths, generator, scale_to


@register("random")
@dataclass(frozen=True)
class Random(Sampler):
    """Draw each group's factor log-uniformly from [1/spread, spread], then scale all to the target.

    target_params, target_macs: what the widths shall cost; without either, as many parameters as the model has.
    """

    weights: ClassVar[Literal["carry", "fresh"]] = "fresh"

    trials: int = 8
    min_width: int = 2
    max_width: int = 4096
    target_params: int | None = field(default=None, metadata={
        "help": "Params that all trials shall have (500k, 1.5M).", "range": (1, math.inf), "count": True})
    target_macs: int | None = field(default=None, metadata={
        "help": "MACs that all trials shall have.", "range": (1, math.inf), "count": True})
    spread: float = field(default=4.0, metadata={
        "help": "Factors are drawn from 1/spread to spread.", "range": (1, 1e3)})

    def start(self, space: Space) -> tuple[Widths, State]:
        """The first draw."""
        return self.draw(space, 0), {"best": None}

    def propose(self, space: Space, state: State, seen: Measurement) -> Proposal:
        """The next draw; it depends on nothing that was measured."""
        return Proposal(self.draw(space, seen.trial + 1), keep_best(state, seen))

    def best(self, state: State) -> Widths:
        """The widths with the highest held-out top-1."""
        return dict(state["best"]["widths"])

    def draw(self, space: Space, trial: int) -> Widths:
        """Random widths of one trial, at the target."""
        reach = math.log(self.spread)
        base = {group.id: group.size * math.exp(generator(self.seed, trial, group.id).uniform(-reach, reach))
                for group in space.resizable}  # fmt: skip
        if self.target_macs is not None:
            return scale_to(space, self.limits, base, self.target_macs, "macs")
        target = self.target_params if self.target_params is not None else space.count(space.widths, "params")
        return scale_to(space, self.limits, base, target, "params")
