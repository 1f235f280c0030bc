"""What is measured of the weights against accuracy and the generalisation gap, over a sweep (CONetV2, figure 2).

gap = held-out loss - training loss, both at the end of the trial whose widths a cell ends with
"""

from __future__ import annotations

from collections.abc import Sequence

from chanc.report.colours import depth_colour
from chanc.report.plots import Axis, Plot, Section, Series
from chanc.report.record import Record
from chanc.report.sections import register
from chanc.report.sections._common import FEWEST, correlation, spread
from chanc.report.swept import MEASURED, SweptCell, by_setting, mean_and_error

AGAINST = {"score": Axis("held-out top-1", "%"), "gap": Axis("held-out loss − training loss", "nats")}


@register("generalisation", order=14)
def generalisation_section(record: Record) -> Section | None:
    """QC, rank and condition against held-out accuracy and the generalisation gap, a point a setting of the sweep."""
    plots = [plot for figure in MEASURED for y in AGAINST if (plot := _plot(record.cells, figure, y)) is not None]
    text = (
        "The layers' mean after the last epoch of the trial that trained the best widths, of the weights or of their "
        "change as --metric-of says. The training loss is the mean over that epoch, on augmented images; ρ is "
        "Spearman's rank correlation over settings."
    )
    return Section("generalisation", "Metric against accuracy and generalisation gap", text, plots) if plots else None


def _plot(cells: Sequence[SweptCell], figure: str, y: str) -> Plot | None:
    settings = {
        setting: known
        for setting, of in by_setting(cells).items()
        if (known := [cell for cell in of if figure in cell.figures and y in cell.figures])
    }
    if len(settings) < FEWEST:
        return None
    points: dict[str, list[tuple[float, float, float | None, str]]] = {}
    for (algo, options), known in settings.items():
        x, _ = mean_and_error([cell.figures[figure] for cell in known])
        mean, error = mean_and_error([cell.figures[y] * (100 if y == "score" else 1) for cell in known])
        label = ", ".join([*(f"{name} {value}" for name, value in options), f"n = {len(known)}"])
        points.setdefault(algo, []).append((x, mean, error, label))
    lines = [_series(algo, of, depth_colour(index, len(points))) for index, (algo, of) in enumerate(points.items())]
    pairs = [(x, mean) for of in points.values() for x, mean, *_ in of]
    note = f"{correlation(pairs)} {spread([len(known) for known in settings.values()])}"
    title = f"{MEASURED[figure]} against {AGAINST[y].label}"
    return Plot(f"{figure}-against-{y}", title, Axis(f"mean {MEASURED[figure]} of the layers"), AGAINST[y], lines,
                note=note)  # fmt: skip


def _series(algo: str, points: Sequence[tuple[float, float, float | None, str]], colour: str) -> Series:
    xs, ys, errors, labels = zip(*points, strict=True)
    return Series(algo, xs, ys, colour, labels, line=False, marker="circle", errors=errors)
