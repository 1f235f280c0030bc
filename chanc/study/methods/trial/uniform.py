"""Uniform (compound) scaling, the baseline of every plot: all groups by one factor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from chanc.study import shapes
from chanc.study.methods.registry import register
from chanc.study.methods.trial._common import Baseline
from chanc.study.space import Space, Widths


@register("uniform")
@dataclass(frozen=True)
class Uniform(Baseline):
    """Scale the model's own widths by one factor.

    With a target every trial has the widths that come nearest to it (another seed each time); without, the trials'
    factors climb from `low` to `high` in equal ratios.
    """

    bends: ClassVar[bool] = False

    low: float = field(default=0.25, metadata={"help": "Lowest factor of the ladder.", "range": (1e-3, 1e3)})
    high: float = field(default=2.0, metadata={"help": "Highest factor of the ladder.", "range": (1e-3, 1e3)})

    def draw(self, space: Space, trial: int) -> Widths:
        """The widths of one trial."""
        if self.target:
            return self.at_target(space, shapes.uniform(space))
        share = min(trial / max(self.trials - 1, 1), 1.0)
        return self.limits.scale(space, space.widths, self.low * (self.high / self.low) ** share)
