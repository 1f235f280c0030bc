"""Uniform (compound) scaling, the baseline of every plot: all groups by one factor."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from chanc.runs import State
from chanc.study.methods.protocol import Measurement
from chanc.study.methods.registry import register
from chanc.study.methods.sampler import Proposal, Sampler
from chanc.study.methods.trial._common import keep_best
from chanc.study.space import Space, Widths, scale_to


@register("uniform")
@dataclass(frozen=True)
class Uniform(Sampler):
    """Scale the model's own widths by one factor.

    With target_params or target_macs, every trial has the widths that come nearest to it (another seed each time);
    without, the trials' factors climb from `low` to `high` in equal ratios.
    """

    weights: ClassVar[Literal["carry", "fresh"]] = "fresh"

    trials: int = 8
    min_width: int = 2
    max_width: int = 4096
    target_params: int | None = field(default=None, metadata={
        "help": "Params that all trials shall have (500k, 1.5M).", "range": (1, math.inf), "count": True})
    target_macs: int | None = field(default=None, metadata={
        "help": "MACs that all trials shall have.", "range": (1, math.inf), "count": True})
    low: float = field(default=0.25, metadata={"help": "Lowest factor of the ladder.", "range": (1e-3, 1e3)})
    high: float = field(default=2.0, metadata={"help": "Highest factor of the ladder.", "range": (1e-3, 1e3)})

    def start(self, space: Space) -> tuple[Widths, State]:
        """The target's widths, or the lowest factor's."""
        return self.at(space, 0), {"best": None}

    def propose(self, space: Space, state: State, seen: Measurement) -> Proposal:
        """The next factor's widths."""
        return Proposal(self.at(space, seen.trial + 1), keep_best(state, seen))

    def best(self, state: State) -> Widths:
        """The widths with the highest held-out top-1."""
        return dict(state["best"]["widths"])

    def at(self, space: Space, trial: int) -> Widths:
        """The widths of one trial."""
        if self.target_params is not None:
            return scale_to(space, self.limits, space.widths, self.target_params, "params")
        if self.target_macs is not None:
            return scale_to(space, self.limits, space.widths, self.target_macs, "macs")
        share = min(trial / max(self.trials - 1, 1), 1.0)
        return self.limits.scale(space, space.widths, self.low * (self.high / self.low) ** share)
