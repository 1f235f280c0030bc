"""Top-1 against params and against MACs, with the baselines and with published numbers (CONet, figure 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chanc.report.colours import depth_colour
from chanc.report.plots import Axis, HeatMap, Marker, Plot, Reference, Section, Series, scaled
from chanc.report.published import reference_points
from chanc.report.record import Record, percent
from chanc.report.sections import register
from chanc.report.sections._common import ROLES, look, on_images, published_series, spread
from chanc.runs import Row

FINAL, SHORT = ("final", "After final training"), ("found", "Best trials of the cells")
"""Ids and titles of rows: those of final trainings, and of a sweep that has none."""


@register("accuracy", order=10)
def accuracy_section(record: Record) -> Section | None:
    """Top-1 against params and against MACs (CONet, figure 6): after the final training, and of the search's trials."""
    plots: list[Plot | HeatMap] = []
    for key, unit in (("params", "parameters"), ("macs", "MACs")):
        final = _final_series(record.rows, key)
        trials = _trial_series(record, key)
        if final:
            note = spread([row.n for row in record.rows if row.top1 is not None])
            name, title = FINAL if _in_full(record) else SHORT
            plots.append(_cost_plot(record, f"{name}-{key}", f"{title}, {unit}", key, unit, final, note))
        if trials:
            note = on_images(record)
            plots.append(_cost_plot(record, f"trials-{key}", f"Search trials, {unit}", key, unit, trials, note))
    plots.sort(key=lambda plot: not plot.id.startswith("final"))
    if not plots:
        return None
    text = "Trials are trained for a few epochs only: compare them with one another, not with the final training."
    return Section("accuracy", "Accuracy against cost", text, plots)


def _in_full(record: Record) -> bool:
    """Whether the rows are those of final trainings: a sweep without any has the trials' held-out scores."""
    return not record.cells or any(cell.final is not None for cell in record.cells)


def _final_series(rows: Sequence[Row], key: str) -> list[Series]:
    points: dict[str, list[Row]] = {}
    for row in rows:
        if getattr(row, key) is not None and row.top1 is not None:
            points.setdefault(row.name, []).append(row)
    series: list[Series] = []
    for name, found in points.items():
        found.sort(key=lambda row: getattr(row, key) or 0.0)
        colour, marker = look(name)
        colour = colour or depth_colour(len(series), 6)
        series.append(row_series(found[0].title, found, key, colour, marker, line=len(found) > 1))
    return series


def row_series(name: str, rows: Sequence[Row], key: str, colour: str, marker: Marker, *, line: bool) -> Series:
    """The top-1 of networks, with error bars, against their cost; key: params or macs."""
    xs, ys = [getattr(row, key) for row in rows], percent([row.top1 for row in rows])
    labels = [row.label or f"n = {row.n}" for row in rows]
    return Series(name, xs, ys, colour, labels, line, marker, errors=percent([row.top1_error for row in rows]))


def _trial_series(record: Record, key: str) -> list[Series]:
    if not record.measured:
        return []
    xs = [trial.params if key == "params" else trial.macs for trial in record.measured]
    ys = percent([trial.top1 for trial in record.measured])
    labels = [f"trial {trial.id}" for trial in record.measured]
    errors = percent([record.trial_error(trial.top1) for trial in record.measured])
    return [Series("trials", xs, ys, ROLES["found"], labels, line=False, marker="circle", errors=errors)]


def _cost_plot(
    record: Record, name: str, title: str, key: str, unit: str, series: Sequence[Series], note: str
) -> Plot:
    published = reference_points(record.subject, Path(str(record.setting("data", ""))).name)
    # A trial of a few epochs is not to be held against a full training.
    others = published_series(published, key) if name.startswith("final") else []
    largest = max([x for line in (*series, *others) for x in line.x if x is not None], default=1)
    divisor, word = scaled(largest)
    lines = [replace(one, x=[x / divisor for x in one.x if x is not None]) for one in (*series, *others)]
    references = [
        Reference("x", entry[key] / divisor, entry["label"], entry["source"])
        for entry in published
        if key in entry and "top1" not in entry and entry[key] <= 4 * largest
    ]
    return Plot(name, title, Axis(unit, word), Axis("top-1", "%"), lines, references, note=note)
