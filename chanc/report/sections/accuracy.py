"""Top-1 against params and against MACs, with the baselines and with published numbers (CONet, figure 6)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chanc.report.colours import depth_colour
from chanc.report.plots import Axis, HeatMap, Marker, Plot, Reference, Section, Series, scaled
from chanc.report.published import reference_points
from chanc.report.record import Record, percent
from chanc.report.sections import register
from chanc.report.sections._common import ROLES
from chanc.runs import Row

MARKERS: dict[str, Marker] = {"found": "diamond", "uniform": "square", "random": "triangle"}


@register("accuracy", order=10)
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
    points: dict[str, list[tuple[float, float, str]]] = {}
    for row in rows:
        cost = row.params if key == "params" else row.macs
        if cost is not None and row.top1 is not None:
            points.setdefault(row.name, []).append((cost, round(100 * row.top1, 4), row.label))
    series: list[Series] = []
    for name, found in points.items():
        role = next((role for role in ROLES if name.lower().startswith(role)), "")
        colour = ROLES.get(role) or depth_colour(len(series), 6)
        xs, ys, labels = zip(*sorted(found), strict=True)
        series.append(Series(name, xs, ys, colour, labels, line=len(found) > 1, marker=MARKERS.get(role, "circle")))
    return series


def _trial_series(record: Record, key: str) -> list[Series]:
    if not record.measured:
        return []
    xs = [trial.params if key == "params" else trial.macs for trial in record.measured]
    ys = percent([trial.top1 for trial in record.measured])
    labels = [f"trial {trial.id}" for trial in record.measured]
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
