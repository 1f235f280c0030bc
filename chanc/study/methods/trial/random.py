"""Random scaling, the second baseline: random widths of equal cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from chanc.study.methods.registry import register
from chanc.study.methods.trial._common import Baseline
from chanc.study.space import Space, Widths, generator, scale_to


@register("random")
@dataclass(frozen=True)
class Random(Baseline):
    """Draw each group's factor log-uniformly from [1/spread, spread], then scale all to the target.

    target_params, target_macs: what the widths shall cost; without either, as many parameters as the model has.
    """

    spread: float = field(default=4.0, metadata={
        "help": "Factors are drawn from 1/spread to spread.", "range": (1, 1e3)})

    def draw(self, space: Space, trial: int) -> Widths:
        """Random widths of one trial, at the target."""
        reach = math.log(self.spread)
        base = {group.id: group.size * math.exp(generator(self.seed, trial, group.id).uniform(-reach, reach))
                for group in space.resizable}  # fmt: skip
        if self.target_macs is not None:
            return scale_to(space, self.limits, base, self.target_macs, "macs")
        target = self.target_params if self.target_params is not None else space.count(space.widths, "params")
        return scale_to(space, self.limits, base, target, "params")
