"""What a search spends beside training: all of its wall-clock seconds but those of training steps and evaluations.

Any training has its steps, and an evaluation of each epoch. What comes on top is the search's: reading and analysing
the model, rewriting it, generating its module, measuring its layers, saving it, drawing the report. Final trainings
are not counted, on either side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chanc.runs.record import Timing

TRAINING = ("train", "evaluate")
START, END, FINAL = "start", "end", "final "
"""Ids of timings: before the first trial, after the last one, and how that of a final training begins."""


@dataclass(frozen=True)
class Spent:
    """Seconds of a search: in training, and by what else they went into, the largest part first."""

    training: float
    rest: Mapping[str, float]

    @property
    def total(self) -> float:
        """All of them."""
        return self.training + sum(self.rest.values())

    @property
    def share(self) -> float:
        """The part beside training, 0 to 1."""
        return 1 - self.training / self.total if self.total else 0.0

    def in_words(self, parts: int = 4) -> str:
        """One line, with the largest parts of what is beside training."""
        longest = ", ".join(f"{name} {seconds:,.1f}" for name, seconds in list(self.rest.items())[:parts])
        beside = f"{self.total - self.training:,.0f} ({self.share:.1%}{': ' if longest else ''}{longest})"
        return f"{self.total:,.0f} s: training {self.training:,.0f}, everything else {beside}"


def spent(timing: Sequence[Timing]) -> Spent:
    """What a run spent its time on, the final trainings apart."""
    seconds: Counter[str] = Counter()
    for line in timing:
        if not line.id.startswith(FINAL):
            seconds.update(line.seconds)
    training = sum(seconds.pop(name, 0.0) for name in TRAINING)
    return Spent(training, {name: value for name, value in seconds.most_common() if value > 0})
