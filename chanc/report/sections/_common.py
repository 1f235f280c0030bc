"""What the sections share: names of axes, colours of the rivals, lines from the first layer to the last."""

from __future__ import annotations

from collections.abc import Sequence

from chanc.report.plots import Axis, Number, Plot, by_depth

TRIAL = Axis("trial")
EPOCH = Axis("epoch of the search, all trials in a row")
GROUPS = "channel groups, first to last in the graph"
LAYERS = "layers, first to last in the graph"
ROLES = {"baseline": "#8a8f98", "found": "#e0662f", "uniform": "#3b8ad9", "random": "#3aa675"}


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
    return Plot(name, title, x, y, by_depth(names, places, rows), ordered=what, mapped=True)


def drawable(rows: Sequence[Sequence[Number]]) -> bool:
    """Whether there is a number anywhere."""
    return any(value is not None for row in rows for value in row)
