"""The cumulative metric of each trial (CONetV2, equation 6, figure 12)."""

from __future__ import annotations

from collections.abc import Sequence

from chanc.report.colours import oklch
from chanc.report.plots import Axis, Number, Plot, Section, Series, by_depth
from chanc.report.record import Record, finite
from chanc.report.sections import register
from chanc.report.sections._common import GROUPS, ONCE, TRIAL

MEAN = oklch(0.62, 0.15, 150)


@register("cumulative", order=40)
def cumulative_section(record: Record) -> Section | None:
    """The cumulative metric of each trial (CONetV2, equation 6, figure 12)."""
    places = record.numbers
    keys = list(dict.fromkeys(key for trial in record.trials for key in trial.cumulative))
    lines: list[Series] = []
    rows = [[finite(trial.cumulative.get(key)) for trial in record.trials] for key in keys]
    if len(keys) > 1:
        means = [_mean([row[index] for row in rows]) for index in range(len(places))]
        lines.append(Series("mean", places, means, MEAN, marker="circle", lead=True))
    lines += by_depth(keys, places, rows)
    if not any(value is not None for line in lines for value in line.y):
        return None
    plot = Plot(
        "cumulative",
        "Cumulative metric",
        TRIAL,
        Axis("cumulative metric"),
        lines,
        ordered=GROUPS if len(keys) > 1 else "",
        mapped=len(keys) > 1,
        note=ONCE,
    )
    return Section(
        "cumulative", "Cumulative metric", "The mean over layers of their QC with momentum (equation 6).", [plot]
    )


def _mean(values: Sequence[Number]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
