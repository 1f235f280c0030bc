"""Flat widths, a rival of every search: all groups equally wide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from chanc.study import shapes
from chanc.study.budgets import Target
from chanc.study.methods.registry import register
from chanc.study.methods.trial._common import Baseline
from chanc.study.space import Space, Widths


@register("flat")
@dataclass(frozen=True)
class Flat(Baseline):
    """All widths equal, at the target or else with as many parameters as the model has; another seed each time."""

    own_target: ClassVar[Target] = Target(params="100%")
    bends: ClassVar[bool] = False

    def draw(self, space: Space, trial: int) -> Widths:
        """The same widths in each trial."""
        return self.at_target(space, shapes.flat(space))
