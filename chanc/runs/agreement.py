"""Whether what a search goes by says anything of accuracy: its rank correlation with the held-out score over trials."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from chanc.runs.events import Metrics, StateEvent
from chanc.runs.paired import least_correlation, rank_correlation
from chanc.runs.record import Record

NAMES = {"group_metric": "QC", "momentum": "m"}
"""What the mean over the groups is called: of QC in a trial, and of what a method has made of it."""


@dataclass(frozen=True)
class Agreement:
    """Spearman's rho over n trials; unrelated figures stay below `least` in 95 % of cases."""

    of: str
    rho: float
    n: int
    least: float

    @property
    def told(self) -> bool:
        """Whether it can be told from none."""
        return abs(self.rho) >= self.least


def agreements(record: Record) -> list[Agreement]:
    """Of each figure that three trials or more have, and a score."""
    figures: dict[str, Metrics] = {}
    for state in record.of(StateEvent):
        figures |= state.figures
    found = []
    for key, name in NAMES.items():
        known = [({**trial.metrics, **figures.get(str(trial.id), {})}.get(key), trial.score) for trial in record.trials]
        pairs = [(statistics.fmean(by_group.values()), score) for by_group, score in known if by_group]
        pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
        rho = rank_correlation(*zip(*pairs, strict=True)) if len(pairs) > 2 else None
        if rho is not None:
            found.append(Agreement(name, rho, len(pairs), least_correlation(len(pairs))))
    return found


def in_words(found: Sequence[Agreement]) -> str:
    """One line on all of them."""
    said = ", ".join(f"{one.of} {one.rho:+.2f}{'' if one.told else ' (none that can be told)'}" for one in found)
    first = found[0]
    return (f"Rank correlation with the held-out score over {first.n} trials: {said}; "
            f"unrelated figures reach {first.least:.2f} in one case of twenty")  # fmt: skip
