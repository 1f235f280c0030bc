"""Greedy search with simulated annealing (CONetV2, Wang et al. 2021, Algorithm 3).

    Temp_t = alpha (T - t) / T,   zeta = exp(-1 / (|dm| Temp_t)),   dm += zeta with probability zeta

T is the number of planned trials, t counts them from 0. dm = 0 gives zeta = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from chanc.study.methods.registry import register
from chanc.study.methods.trial.greedy import Greedy
from chanc.study.space import generator


@register("sa")
@dataclass(frozen=True)
class SimulatedAnnealing(Greedy):
    """The greedy rule with a random push that cools down.

    alpha: the temperature at the start. zeta: "code" is the equation above; "alpha-squared" is the paper's print,
    where alpha enters a second time, exp(-1 / (alpha dm Temp)), and a falling dm is always pushed (zeta 1).
    """

    alpha: float = field(default=5.0, metadata={"help": "Temperature at the start.", "range": (0, math.inf)})
    zeta: Literal["code", "alpha-squared"] = field(default="code", metadata={
        "help": "Acceptance as in the code or in the paper."})  # fmt: skip

    def temperature(self, trial: int) -> float:
        """Temp_t; never below zero, should a search run longer than planned."""
        return self.alpha * max(self.trials - trial, 0) / self.trials

    def acceptance(self, change: float, temperature: float) -> float:
        """The probability zeta, which is also the size of the push."""
        if change == 0.0 or temperature == 0.0:
            return 0.0
        if self.zeta == "alpha-squared":
            return 1.0 if change < 0 else math.exp(-1.0 / (self.alpha * change * temperature))
        return math.exp(-1.0 / (abs(change) * temperature))

    def adjust(self, change: float, trial: int, group: str) -> float:
        """dm plus zeta, where the group's draw of this trial falls below zeta."""
        zeta = self.acceptance(change, self.temperature(trial))
        return change + zeta if generator(self.seed, trial, group).random() < zeta else change
