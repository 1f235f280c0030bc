"""What the sections share: names of axes, colours of the rivals, lines from the first layer to the last."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from chanc.report.plots import Axis, Marker, Number, Plot, Series, by_depth
from chanc.report.record import Record
from chanc.runs.paired import least_correlation, rank_correlation

TRIAL = Axis("trial")
EPOCH = Axis("epoch of the search, all trials in a row")
OWN_EPOCH = Axis("epoch of the search")
GROUPS = "channel groups, first to last in the graph"
LAYERS = "layers, first to last in the graph"
ROLES = {"baseline": "#8a8f98", "found": "#e0662f", "uniform": "#3b8ad9", "flat": "#9a63c9", "random": "#3aa675"}
PALER = {"uniform": "#9cc4ec", "flat": "#ccb1e4", "random": "#9cd2ba"}
"""The colours of rivals at equal MACs; at equal params they have those of `ROLES`."""
MARKERS: dict[str, Marker] = {"found": "diamond", "uniform": "square", "flat": "circle", "random": "triangle"}
GREY = "#8a8f98"
FEWEST = 3
"""Settings below which a correlation says nothing."""
ONCE = "One training each (n = 1)."


def look(name: str) -> tuple[str, Marker]:
    """The colour and the marker of a network by its role; no colour for a name that is none."""
    role = next((role for role in ROLES if name.lower().startswith(role)), "")
    colours = PALER if role in PALER and name.endswith("-macs") else ROLES
    return colours.get(role, ""), MARKERS.get(role, "circle")


def published_series(entries: Sequence[Mapping[str, Any]], key: str) -> list[Series]:
    """The networks of `chanc.report.published` whose cost (key: params or macs) and accuracy are both known, if any."""
    points = [entry for entry in entries if key in entry and "top1" in entry]
    labels = [f"{entry['label']}: {entry['source']}" for entry in points]
    return [Series("published", [entry[key] for entry in points], [entry["top1"] for entry in points], GREY, labels,
                   line=False, marker="circle")] if points else []  # fmt: skip


def on_images(record: Record) -> str:
    """A note on the error bars of single trainings."""
    return f"{ONCE} Error bars: the standard error on {record.held_out} images." if record.held_out else ONCE


def spread(counts: Sequence[int]) -> str:
    """A note on error bars over so many trainings."""
    few, many = min(counts, default=1), max(counts, default=1)
    if many < 2:
        return f"{ONCE[:-1]}: no error bars."
    n = str(many) if few == many else f"{few} to {many}"
    return f"Error bars: one standard error over n = {n} trainings with other seeds."


def correlation(pairs: Sequence[tuple[float, float]]) -> str:
    """A note on how points, one a setting of a sweep, go together: Spearman's rank correlation."""
    if len(pairs) < FEWEST:
        return f"Too few settings for a correlation (n = {len(pairs)})."
    rho, least = rank_correlation(*zip(*pairs, strict=True)), least_correlation(len(pairs))
    if rho is None or not math.isfinite(rho):
        return f"No rank correlation: one side is all alike (n = {len(pairs)} settings)."
    told = "" if abs(rho) >= least else ", which can't be told from none"
    return f"ρ = {rho:+.2f} over n = {len(pairs)} settings{told} (unrelated ones reach {least:.2f} in one case of 20)."


def depth_plot(
    name: str,
    title: str,
    x: Axis,
    y: Axis,
    what: str,
    names: Sequence[str],
    places: Sequence[Number],
    rows: Sequence[Sequence[Number]],
) -> Plot:
    """A line a layer or a group (`what`), coloured by its depth; the page offers them as a heat map too."""
    return Plot(name, title, x, y, by_depth(names, places, rows), ordered=what, mapped=True, note=ONCE)


def drawable(rows: Sequence[Sequence[Number]]) -> bool:
    """Whether there is a number anywhere."""
    return any(value is not None for row in rows for value in row)
