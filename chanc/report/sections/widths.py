"""The width of each channel group over the trials (CONet, figure 5)."""

from __future__ import annotations

from chanc.report.plots import Axis, HeatMap, Plot, Section, by_depth
from chanc.report.record import Record
from chanc.report.sections import register
from chanc.report.sections._common import GROUPS, TRIAL


@register("widths", order=20)
def width_section(record: Record) -> Section | None:
    """Width of each channel group over the trials (CONet, figure 5)."""
    groups = record.groups
    if not groups:
        return None
    rows = [[trial.widths.get(group) for trial in record.trials] for group in groups]
    lines = by_depth(groups, record.numbers, rows)
    width = Axis("width", "channels")
    logarithmic = Axis("width", "channels", log=True)
    return Section(
        "widths",
        "Width evolution",
        "The width of every channel group, trial by trial.",
        [
            Plot("widths", "Lines", TRIAL, width, lines, ordered=GROUPS),
            Plot("widths-log", "Lines, logarithmic", TRIAL, logarithmic, lines, ordered=GROUPS),
            HeatMap("widths-map", "Map", TRIAL, Axis("channel group"), logarithmic, groups, record.numbers, rows),
        ],
    )
