"""The report's pictures as PNG, SVG or PDF files, drawn by matplotlib (optional, imported when this module is)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chanc.errors import MissingDependencyError
from chanc.report.colours import sequential
from chanc.report.plots import HeatMap, Plot, Section, Series

try:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError:
    raise MissingDependencyError("images need matplotlib: pip install 'chanc[report]'") from None
from chanc.report.network_image import PALE, network_figure, shown

DPI = 150
MARKERS = {"": "", "circle": "o", "square": "s", "diamond": "D", "triangle": "^"}
# a legend of more lines than this hides the plot: the colours' order is shown instead
LEGEND_LIMIT = 12
NOTE_WIDTH, TITLE_WIDTH = 110, 80
"""Letters of a note and of a title side by side: so many fit under a picture, and above its axes."""
GREY = "#8a8f98"


def draw_all(sections: Sequence[Section], graph: Mapping[str, Any] | None, folder: Path, kind: str) -> list[Path]:
    """Draw every plot into `folder`, a file each named after its id, and the network; kind: svg, pdf or png."""
    written = []
    for section in sections:
        for plot in section.plots:
            title = f"{section.title}: {plot.title}" if len(section.plots) > 1 else section.title
            figure = _heat(plot, title) if isinstance(plot, HeatMap) else _lines(plot, title)
            written.append(_save(figure, folder / f"{plot.id}.{kind}"))
    if graph is not None:
        written.append(draw_network(graph, folder / f"network.{kind}"))
    return written


def draw_network(graph: Mapping[str, Any], path: Path) -> Path:
    """Draw a network, as `chanc.report.visualizer.model_graph` returns it, in the format that the name ends in."""
    return _save(network_figure(graph), path)


def draw(plot: Plot | HeatMap, path: Path) -> Path:
    """Draw one plot into a file, in the format that its name ends in."""
    return _save(_heat(plot, plot.title) if isinstance(plot, HeatMap) else _lines(plot, plot.title), path)


def _lines(plot: Plot, title: str) -> Figure:
    figure = Figure(figsize=(8.0, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for series in plot.series:
        _draw_series(axes, series, thin=len(plot.series) > LEGEND_LIMIT)
    _references(axes, plot)
    axes.set_title(textwrap.fill(title, TITLE_WIDTH), fontsize=11)
    axes.set_xlabel(plot.x.text)
    axes.set_ylabel(plot.y.text)
    if not plot.x.log and all(float(x).is_integer() for series in plot.series for x in series.x if x is not None):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if plot.note:
        figure.supxlabel(textwrap.fill(plot.note, NOTE_WIDTH), fontsize=8, color=GREY)
    for axis, log in ((axes.xaxis, plot.x.log), (axes.yaxis, plot.y.log)):
        if log and _positive(plot):
            (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log", base=2)
            axis.set_major_formatter("{x:g}")
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if plot.ordered and len(plot.series) > 1:
        _depth_bar(figure, axes, plot)
    elif 1 < len(plot.series) <= LEGEND_LIMIT:
        axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_series(axes: Any, series: Series, thin: bool) -> None:
    gaps = [float("nan") if value is None else value for value in series.y]
    if any(series.errors):
        reach = [error or 0.0 for error in series.errors]
        axes.errorbar(series.x, gaps, reach, fmt="none", ecolor=series.colour, elinewidth=1.1, capsize=3, zorder=2)
    if series.low:
        axes.fill_between(series.x, series.low, series.high, color=series.colour, alpha=0.14, linewidth=0, zorder=1)
        for border in (series.low, series.high):
            axes.plot(series.x, border, color=series.colour, linewidth=0.6, alpha=0.6, zorder=1)
    axes.plot(
        series.x,
        gaps,
        color=series.colour,
        label=shown(series.name),
        marker=MARKERS[series.marker],
        markersize=4.5 if series.line else 5,
        linestyle=("--" if series.dash else "-") if series.line else "none",
        linewidth=2.4 if series.lead else 0.9 if thin else 1.6,
        zorder=3 if series.lead else 2,
    )


def _references(axes: Any, plot: Plot) -> None:
    small: dict[str, Any] = {"fontsize": 7, "color": GREY, "ha": "right"}
    for reference in plot.references:
        label = reference.label
        if reference.axis == "y":
            axes.axhline(reference.value, color=GREY, linewidth=0.9, linestyle="--")
            axes.annotate(label, (1, reference.value), xycoords=("axes fraction", "data"), va="bottom", **small)
        else:
            axes.axvline(reference.value, color=GREY, linewidth=0.9, linestyle="--")
            axes.annotate(label, (reference.value, 0.02), xycoords=("data", "axes fraction"), rotation=90, **small)


def _depth_bar(figure: Figure, axes: Any, plot: Plot) -> None:
    ordered = [series for series in plot.series if not series.lead]
    from matplotlib.cm import ScalarMappable

    scale = ScalarMappable(cmap=ListedColormap([series.colour for series in ordered]))
    bar = figure.colorbar(scale, ax=axes, ticks=[0, 1], pad=0.02, fraction=0.04)
    bar.ax.set_yticklabels(["first", "last"], fontsize=8)
    bar.set_label(plot.ordered, fontsize=8)


def _positive(plot: Plot) -> bool:
    return all(value is None or value > 0 for series in plot.series for value in series.y)


def _heat(plot: HeatMap, title: str) -> Figure:
    rows = len(plot.rows)
    figure = Figure(figsize=(8.0, min(12.0, max(3.0, 1.2 + 0.16 * rows))), layout="constrained")
    axes = figure.add_subplot()
    values = [[float("nan") if value is None else float(value) for value in row] for row in plot.values]
    positive = all(value != value or value > 0 for row in values for value in row)
    norm = LogNorm() if plot.value.log and positive else None
    image = axes.imshow(values, aspect="auto", interpolation="nearest", cmap=ListedColormap(sequential(256)), norm=norm)
    step = max(1, rows // 60 + 1)
    axes.set_yticks(range(0, rows, step), [shown(name[-32:]) for name in plot.rows[::step]], fontsize=6)
    every = max(1, len(plot.columns) // 12)
    axes.set_xticks(
        range(0, len(plot.columns), every), [f"{value:g}" for value in plot.columns[::every] if value is not None]
    )
    axes.set_xlabel(plot.x.text)
    axes.set_ylabel(plot.y.text)
    axes.set_title(textwrap.fill(title, TITLE_WIDTH), fontsize=11)
    bar = figure.colorbar(image, ax=axes, label=plot.value.text, format="{x:g}", pad=0.02, fraction=0.04)
    if norm is not None:
        bar.minorticks_off()
        low, high = image.get_clim()
        bar.set_ticks([2.0**power for power in range(-20, 21) if (low or 0) <= 2.0**power <= (high or 0)])
    return figure


def _save(figure: Figure, path: Path) -> Path:
    from chanc.files import atomic_write

    FigureCanvasAgg(figure)
    with atomic_write(path) as temporary:
        kind = path.suffix.removeprefix(".").lower()
        # the same picture is the same file; its text stays text, small and to be edited
        dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
        with rc_context({"svg.hashsalt": "chanc", "svg.fonttype": "none"}):
            figure.savefig(temporary, dpi=DPI, format=kind, facecolor="white", metadata=dated)
    return path
