"""The end of a run: the widths that were found beside the original network and scaled ones, and an honest sentence."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chanc.runs.events import FinalEvent
from chanc.runs.paired import Difference, difference, standard_error
from chanc.runs.record import Record

COUNTERS = {"params": "params", "macs": "MACs"}
"""What networks may have in equal number; a rival's name ends in it: uniform-params."""


@dataclass(frozen=True)
class Row:
    """One network of a comparison.

    name: its role (found, baseline, uniform-params, random-macs) or a method. top1 (0 to 1) is the mean over the final
    trainings, top1_std their standard deviation, scores each one by its seed; latency_s: seconds of one input. None is
    not known. label: which one of its name.
    """

    name: str
    params: float | None = None
    macs: float | None = None
    top1: float | None = None
    top1_std: float | None = None
    latency_s: float | None = None
    widths: Mapping[str, int] | None = None
    label: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its name in words: uniform at equal params."""
        role, _, counter = self.name.rpartition("-")
        return f"{role} at equal {COUNTERS[counter]}" if role and counter in COUNTERS else self.name

    @property
    def n(self) -> int:
        """Trainings that its accuracy is the mean of."""
        return len(self.scores) or int(self.top1 is not None)

    @property
    def top1_error(self) -> float | None:
        """The standard error of top1, None for a single training."""
        return standard_error(list(self.scores.values()))


def final_rows(record: Record) -> list[Row]:
    """A row for each rival that was trained at the end, in the order of the trainings after the found network."""
    finals: dict[str, list[FinalEvent]] = {}
    for event in record.finals:
        finals.setdefault(event.name, []).append(event)
    return [_row(record, name, finals[name]) for name in sorted(finals, key=lambda name: name != "found")]


def _row(record: Record, name: str, events: Sequence[FinalEvent]) -> Row:
    scores = [event.score for event in events]
    return Row(
        name=name,
        params=_mean([event.params for event in events]),
        macs=_mean([event.macs for event in events]),
        top1=statistics.fmean(scores),
        top1_std=statistics.stdev(scores) if len(scores) > 1 else None,
        latency_s=record.latency(name),
        widths=events[0].decision.widths,
        scores={str(event.seed): event.score for event in events},
    )


def _mean(counts: Sequence[int]) -> int:
    """Random rivals are other networks with each seed, and of equal cost as far as their steps allow."""
    return round(statistics.fmean(counts))


def differences(rows: Sequence[Row]) -> dict[str, Difference]:
    """By how much the found network is better than each rival, paired by seeds, by the rival's name."""
    found = next((row for row in rows if row.name == "found"), None)
    if found is None:
        return {}
    against = {row.name: difference(found.scores, row.scores) for row in rows if row is not found}
    return {name: one for name, one in against.items() if one is not None}


def verdict(rows: Sequence[Row]) -> list[str]:
    """One sentence on each rival: whether the found network is better, worse, or nobody can tell."""
    by_name = {row.name: row for row in rows}
    return [f"{_judged(one, by_name[name])}{_cost(by_name[name], by_name['found'])}{_loss(one, by_name[name])}."
            for name, one in differences(rows).items()]  # fmt: skip


def points(one: Difference) -> str:
    """A difference in percentage points with its standard error: +1.20 ± 0.31."""
    return f"{100 * one.mean:+.2f}" + (f" ± {100 * one.error:.2f}" if one.error is not None else "")


def _judged(one: Difference, rival: Row) -> str:
    said = {"better": "The found network is better than", "worse": "The found network is worse than",
            "can't tell": "Can't tell the found network from"}[one.judgement]  # fmt: skip
    if one.reach is None:
        return f"{said} {rival.title}: {points(one)} points, and one training shows no spread (n = 1)"
    low, high = (f"{100 * (one.mean + side * one.reach):+.2f}" for side in (-1, 1))
    return f"{said} {rival.title}: {points(one)} points (n = {one.n}, 95 % interval {low} to {high})"


def _cost(rival: Row, found: Row) -> str:
    if not (rival.params and found.params and rival.macs and found.macs):
        return ""
    params, macs = found.params / rival.params, found.macs / rival.macs
    return f", with {_times(params)} times its params, {_times(macs)} times its MACs"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def _loss(one: Difference, rival: Row) -> str:
    """What is given up for the cost that the original has more; rivals of equal cost have no margin."""
    if rival.name != "baseline" or one.reach is None or one.judgement == "better":
        return ""
    return {"less": ": less than a point is lost", "more": ": more than a point is lost",
            "can't tell": ": whether more than a point is lost, nobody can tell"}[one.loss]  # fmt: skip
