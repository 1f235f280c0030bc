"""The end of a run: the widths that were found beside the original network and scaled ones, and an honest sentence."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chanc.runs.events import FinalEvent
from chanc.runs.record import Record

EQUAL_COST = 0.10
"""Widths of other params than this share tell nothing of each other's accuracy."""


@dataclass(frozen=True)
class Row:
    """One network of a comparison.

    name: its role (found, baseline, uniform, random) or a method. top1 (0 to 1) is the mean over the final trainings,
    top1_std their standard deviation; latency_s: seconds of one input. None is not known. label: which one of its name.
    """

    name: str
    params: float | None = None
    macs: float | None = None
    top1: float | None = None
    top1_std: float | None = None
    latency_s: float | None = None
    widths: Mapping[str, int] | None = None
    label: str = ""


def final_rows(record: Record) -> list[Row]:
    """A row for each rival that was trained at the end, in the order of the trainings."""
    finals: dict[str, list[FinalEvent]] = {}
    for event in record.finals:
        finals.setdefault(event.name, []).append(event)
    return [_row(record, name, events) for name, events in finals.items()]


def _row(record: Record, name: str, events: Sequence[FinalEvent]) -> Row:
    scores = [event.score for event in events]
    return Row(
        name=name,
        params=events[0].params,
        macs=events[0].macs,
        top1=statistics.fmean(scores),
        top1_std=statistics.stdev(scores) if len(scores) > 1 else None,
        latency_s=record.latency(name),
        widths=events[0].decision.widths,
    )


def verdict(rows: Sequence[Row]) -> list[str]:
    """One sentence on each rival: by how much the found widths beat it, or that they don't."""
    found = next((row for row in rows if row.name == "found"), None)
    if found is None or found.top1 is None:
        return []
    return [f"{_judged(100 * (found.top1 - rival.top1), rival, found)}{_cost(rival, found)}."
            for rival in rows if rival is not found and rival.top1 is not None]  # fmt: skip


def _judged(gain: float, rival: Row, found: Row) -> str:
    noise = 100 * max(rival.top1_std or 0.0, found.top1_std or 0.0)
    if abs(gain) < 0.005:
        return f"Found widths are on a par with {rival.name}"
    size = f"{abs(gain):.2f} percentage points"
    within = f" (within the spread of {noise:.2f})" if abs(gain) <= noise else ""
    if gain > 0:
        return f"Found widths beat {rival.name} by {size}{within}"
    return f"Found widths do not beat {rival.name}: {size} lower{within}"


def _cost(rival: Row, found: Row) -> str:
    if not rival.params or not found.params:
        return ""
    ratio = found.params / rival.params
    return " at equal params" if abs(ratio - 1) <= EQUAL_COST else f" with {ratio:.2f} times its params"
