"""A sensitivity as a table's rows and as a picture: the loss against the share of channels that a group keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from chanc.report.colours import group_colour
from chanc.report.plots import Axis, HeatMap, Plot, Reference, Series

if TYPE_CHECKING:
    from chanc.measuring.sensitivity import Curve, Sensitivity

MOST = 12
"""Lines that have a legend."""


def heads(found: Sensitivity) -> list[str]:
    """The heads of the table: the rise of the loss at each ratio, the largest first, and the width of the plan."""
    return ["loss rises by, at", "width", *(f"{ratio:g}" for ratio in reversed(found.ratios)), "plan"]


def rows(found: Sensitivity) -> Iterator[list[str]]:
    """A row a group that was measured."""
    for curve in _measured(found):
        kept = found.planned.keep.get(curve.group)
        rises = (f"{point.loss - found.loss:+.3g}" for point in curve.points)
        yield [curve.group, str(curve.size), *rises, str(len(kept)) if kept else "-"]


def plot(found: Sensitivity) -> Plot | HeatMap:
    """A line a group; of more groups than a legend can name a map."""
    curves = _measured(found)
    title, x = "Loss where one group keeps fewer channels", Axis("share of its channels that stay")
    y, loss = Axis("channel group"), Axis("loss", log=True)
    note = (f"One group at a time, the channels of the highest {found.importance} stay; {found.samples} training "
            f"samples; the loss of the model as it is: {found.loss:.4g}")  # fmt: skip
    if len(curves) > MOST:
        losses = [[point.loss if math.isfinite(point.loss) else None for point in curve.points] for curve in curves]
        names, ratios = [curve.group for curve in curves], list(reversed(found.ratios))
        return HeatMap("sensitivity", title, x, y, loss, names, ratios, losses, note)
    lines = [_line(found, curve, group_colour(k)) for k, curve in enumerate(curves)]
    rise = found.planned.max_rise
    return Plot(
        "sensitivity",
        title,
        x,
        Axis("loss"),
        lines,
        [Reference("y", found.loss + rise, f"a rise of {rise:g}")],
        note=note,
    )


def _measured(found: Sensitivity) -> list[Curve]:
    return [curve for curve in found.curves if curve.points]


def _line(found: Sensitivity, curve: Curve, colour: str) -> Series:
    points = {point.width / curve.size: point.loss for point in curve.points if math.isfinite(point.loss)}
    xs, ys = zip(*sorted({**points, 1.0: found.loss}.items()), strict=True)
    return Series(curve.group, xs, ys, colour, marker="circle")


def draw(found: Sensitivity, path: Path) -> Path:
    """Write the picture, as SVG or PNG by the file's name. Raises: MissingDependencyError without matplotlib."""
    from chanc.report.static import draw as drawn

    return drawn(plot(found), path)
