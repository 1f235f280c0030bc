"""Whether the score with which a search for edges ends tells the final one, over a sweep (CNAS, figure 2a)."""

from __future__ import annotations

from chanc.report.colours import depth_colour
from chanc.report.plots import Axis, Plot, Section, Series
from chanc.report.record import Record
from chanc.report.sections import register
from chanc.report.sections._common import correlation, spread
from chanc.report.swept import SweptCell, by_setting, mean_and_error


@register("one-shot", order=16)
def one_shot_section(record: Record) -> Section | None:
    """The held-out score after the last step against the final score, a point a setting of the sweep."""
    settings = {
        setting: known
        for setting, of in by_setting(record.cells).items()
        if (known := [cell for cell in of if "one_shot" in cell.figures and cell.final is not None])
    }
    if not settings:
        return None
    points = [(algo, options, known) for (algo, options), known in settings.items()]
    series = [_point(algo, options, known, depth_colour(index, len(points)))
              for index, (algo, options, known) in enumerate(points)]  # fmt: skip
    pairs = [(x, y) for one in series for x, y in zip(one.x, one.y, strict=True) if x is not None and y is not None]
    plot = Plot(
        "one-shot", "Search and final score", Axis("held-out top-1 at the search's end", "%"),
        Axis("top-1 after final training", "%"), series,
        note=f"{correlation(pairs)} {spread([len(known) for known in settings.values()])}",
    )  # fmt: skip
    text = "Whether a search can be judged by the weights that it ends with, before any final training."
    return Section("one-shot", "One-shot against final score", text, [plot])


def _point(algo: str, options: tuple[tuple[str, str], ...], known: list[SweptCell], colour: str) -> Series:
    title = ", ".join([algo, *(f"{name} {value}" for name, value in options)])
    x, _ = mean_and_error([100 * cell.figures["one_shot"] for cell in known])
    y, error = mean_and_error([100 * cell.final for cell in known if cell.final is not None])
    return Series(title, [x], [y], colour, [f"n = {len(known)}"], line=False, marker="circle", errors=[error])
