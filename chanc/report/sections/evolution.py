"""The widths of a sweep's searches, trial by trial: greedy's beside annealing's (CONetV2, channel evolution)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from chanc.report.colours import depth_colour
from chanc.report.plots import Axis, Plot, Section, Series, by_depth
from chanc.report.record import Record
from chanc.report.sections import register
from chanc.report.sections._common import GROUPS, TRIAL, spread
from chanc.report.swept import SweptCell, by_setting, mean_and_error, titled, varied

SHOWN = 4
"""The groups of so many settings are drawn, one view each; of more there are the totals alone."""


@register("evolution", order=16)
def evolution_section(record: Record) -> Section | None:
    """All channels and those of each group over the trials, for each setting of a sweep with two trials or more."""
    names = varied(record.cells)
    settings = [
        (titled(algo, [(name, value) for name, value in options if name in names]), known)
        for (algo, options), of in by_setting(record.cells).items()
        if (known := [cell for cell in of if len(cell.widths) > 1])
    ]
    if not settings:
        return None
    views = [_groups(number, *setting) for number, setting in enumerate(settings, 1)] if len(settings) <= SHOWN else []
    text = "The widths of the trials that worked, one after the other, the mean over the seeds of a setting."
    return Section("evolution", "Channel evolution", text, [_totals(settings), *views])


def _totals(settings: Sequence[tuple[str, Sequence[SweptCell]]]) -> Plot:
    lines = []
    for index, (title, of) in enumerate(settings):
        trials = zip_longest(*([sum(widths.values()) for widths in cell.widths] for cell in of))
        known = (mean_and_error([count for count in trial if count is not None]) for trial in trials)
        means, errors = zip(*known, strict=True)
        lines.append(Series(title, range(len(means)), means, depth_colour(index, len(settings)), errors=errors,
                            marker="circle"))  # fmt: skip
    return Plot("evolution", "All settings", TRIAL, Axis("all groups together", "channels"), lines,
                note=spread([len(of) for _, of in settings]))  # fmt: skip


def _groups(number: int, title: str, of: Sequence[SweptCell]) -> Plot:
    """The width of each group over the trials of one setting."""
    names = list(dict.fromkeys(group for cell in of for group in cell.widths[0]))
    trials = list(zip_longest(*(cell.widths for cell in of)))
    rows = [[mean_and_error([widths[name] for widths in trial if widths is not None])[0] for trial in trials]
            for name in names]  # fmt: skip
    return Plot(f"evolution-{number}", title, TRIAL, Axis("width", "channels"),
                by_depth(names, range(len(trials)), rows), ordered=GROUPS, mapped=True,
                note=f"The mean of n = {len(of)}.")  # fmt: skip
