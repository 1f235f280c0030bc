"""Random scaling, the second baseline: random widths of equal cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from chanc.study import shapes
from chanc.study.budgets import Target
from chanc.study.methods.registry import register
from chanc.study.methods.trial._common import Baseline
from chanc.study.space import Space, Widths


@register("random")
@dataclass(frozen=True)
class Random(Baseline):
    """Draw each group's factor log-uniformly from [1/spread, spread], then scale all to the target.

    Without a target they have as many parameters as the model has.
    """

    own_target: ClassVar[Target] = Target(params="100%")

    spread: float = field(default=4.0, metadata={
        "help": "Factors are drawn from 1/spread to spread.", "range": (1, 1e3)})

    def draw(self, space: Space, trial: int) -> Widths:
        """Random widths of one trial, at the target."""
        return self.at_target(space, shapes.random(space, self.seed, trial, self.spread))
