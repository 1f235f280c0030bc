"""Top-1 against params and against MACs, with the baselines and with published numbers (CONet, figure 6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chanc.report.colours import depth_colour
from chanc.report.plots import Axis, HeatMap, Marker, Plot, Reference, Section, Series, scaled
from chanc.report.published import reference_points
from chanc.report.record import Record, Row, finite, number, percent

ROLES = {"baseline": "#8a8f98", "found": "#e0662f", "uniform": "#3b8ad9", "random": "#3aa675"}
MARKERS: dict[str, Marker] = {"found": "diamond", "uniform": "square", "random": "triangle"}


def accuracy_section(record: Record) -> Section | None:
    """Top-1 against params and against MACs (CONet, figure 6): after the final training, and of the search's trials."""
    plots: list[Plot | HeatMap] = []
    for key, unit in (("params", "parameters"), ("macs", "MACs")):
        final = _final_series(record.rows, key)
        trials = _trial_series(record, key)
        if final:
            plots.append(_cost_plot(record, f"final-{key}", f"After final training, {unit}", key, unit, final))
        if trials:
            plots.append(_cost_plot(record, f"trials-{key}", f"Search trials, {unit}", key, unit, trials))
    plots.sort(key=lambda plot: not plot.id.startswith("final"))
    if not plots:
        return None
    text = "Trials are trained for a few epochs only: compare them with one another, not with the final training."
    return Section("accuracy", "Accuracy against cost", text, plots)


def _final_series(rows: Sequence[Row], key: str) -> list[Series]:
    usable = [row for row in rows if finite(row.get(key)) is not None and finite(row.get("top1")) is not None]
    accuracy = percent([finite(row.get("top1")) for row in usable])
    series: list[Series] = []
    for name in dict.fromkeys(str(row.get("name")) for row in usable):
        points = sorted(
            (float(row[key]), value, str(row.get("label", "")))
            for row, value in zip(usable, accuracy, strict=True)
            if str(row.get("name")) == name and value is not None
        )
        role = next((role for role in ROLES if name.lower().startswith(role)), "")
        colour = ROLES.get(role) or depth_colour(len(series), 6)
        xs, ys, labels = zip(*points, strict=True)
        series.append(Series(name, xs, ys, colour, labels, line=len(points) > 1, marker=MARKERS.get(role, "circle")))
    return series


def _trial_series(record: Record, key: str) -> list[Series]:
    usable = [
        (index, trial)
        for index, trial in enumerate(record.trials)
        if finite(trial.get(key)) is not None and finite(trial.get("top1")) is not None
    ]
    if not usable:
        return []
    xs = [float(trial[key]) for _, trial in usable]
    ys = percent([finite(trial.get("top1")) for _, trial in usable])
    labels = [f"trial {number(trial, index)}" for index, trial in usable]
    return [Series("trials", xs, ys, ROLES["found"], labels, line=False, marker="circle")]


def _cost_plot(record: Record, name: str, title: str, key: str, unit: str, series: Sequence[Series]) -> Plot:
    published = reference_points(record.subject, Path(str(record.setting("data", ""))).name)
    points = [entry for entry in published if entry.get(key) and entry.get("top1")]
    largest = max([x for line in series for x in line.x if x is not None] + [entry[key] for entry in points], default=1)
    divisor, word = scaled(largest)
    lines = [
        Series(s.name, [x / divisor for x in s.x if x is not None], s.y, s.colour, s.labels, s.line, s.marker)
        for s in series
    ]
    references = [
        Reference("y", entry["top1"], entry["label"], entry["source"])
        for entry in published
        # a trial of a few epochs is not to be held against a full training
        if "top1" in entry and name.startswith("final")
    ]
    references += [
        Reference("x", entry[key] / divisor, entry["label"], entry["source"])
        for entry in published
        if key in entry and "top1" not in entry and entry[key] <= 4 * largest
    ]
    return Plot(name, title, Axis(unit, word), Axis("top-1", "%"), lines, references)
