"""The network with its channel groups as a picture: layers as two bars each, or as circles; drawn by matplotlib.

For `chanc.report.static`, which says what is missing where matplotlib is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Rectangle, Wedge
from matplotlib.path import Path as Curve

from chanc.report.visualizer import LABEL

INK, SOFT, PALE = "#20242a", "#5c6470", "#d9dde3"


def network_figure(graph: Mapping[str, Any]) -> Figure:
    """The picture of a network that `chanc.report.visualizer.model_graph` has laid out."""
    width, height = max(graph["width"], 1.0), max(graph["height"], 1.0)
    inches = min(14.0, max(5.0, width / 90))
    figure = Figure(figsize=(inches, inches * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    points = 72 * inches / width
    for edge in graph["edges"]:
        corners = list(zip(edge["p"][::2], edge["p"][1::2], strict=True))
        codes = [Curve.MOVETO] + [Curve.CURVE4] * (len(corners) - 1)
        axes.add_patch(
            PathPatch(
                Curve(corners, codes),
                fill=False,
                edgecolor="#b3b9c2",
                zorder=1,
                linewidth=(0.2 + edge["read"]) * points,
            )
        )
    for node in graph["nodes"]:
        draw = _circle if graph["circles"] and node["kind"] == "layer" else _node
        draw(axes, node, graph["groups"], points)
    return figure


def _node(axes: Any, node: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], points: float) -> None:
    left, top = node["x"] - node["w"] / 2, node["y"] - node["h"] / 2
    layer = node["kind"] == "layer"
    box = FancyBboxPatch(
        (left, top),
        node["w"],
        node["h"],
        boxstyle=f"round,pad=0,rounding_size={5 if layer else 11}",
        facecolor="#f6f7f9",
        edgecolor=PALE,
        linewidth=points,
        hatch="///" if node["pinned"] and not layer else None,
        zorder=2,
    )
    axes.add_patch(box)
    text = shown(f"{node['label']} {node['detail']}".strip())
    axes.text(node["x"], top + 11, text, fontsize=11 * points, ha="center", va="center", zorder=3)
    if layer:
        for side, below in (("in", 19), ("out", 28)):
            length, was = node[f"{side}_px"], node[f"{side}_was_px"]
            _bar(axes, (node["x"], top + below, 8), node[side], length, groups)
            _outline(axes, Rectangle((node["x"] - was / 2, top + below), was, 8))
            _count(axes, node["x"] + max(length, was) / 2, top + below + 4.5, node["count"][side], points)
    elif node["out"]:
        place = (node["x"], top + node["h"] - 6, 4)
        _bar(axes, place, node["out"], min(node["out_px"], node["w"] - 6), groups)


def _bar(
    axes: Any,
    place: tuple[float, float, float],
    segments: Sequence[Mapping[str, Any]],
    length: float,
    groups: Sequence[Mapping[str, Any]],
) -> None:
    """A bar of segments at (middle, top, height)."""
    middle, top, height = place
    total = sum(segment["n"] for segment in segments)
    left = middle - length / 2
    for segment in segments:
        width = length * segment["n"] / total
        axes.add_patch(Rectangle((left, top), width, height, zorder=3, **_look(segment, groups)))
        if unread := width * segment["d"] / segment["n"]:
            axes.add_patch(Rectangle((left + width - unread, top), unread, height, facecolor="#f6f7f9c0", zorder=3))
        left += width


def _count(axes: Any, left: float, middle: float, text: str, points: float) -> None:
    """A number at the right end of a bar or a circle."""
    axes.text(left + 3, middle, text, fontsize=9.5 * points, color=SOFT, va="center", zorder=3)


def _circle(axes: Any, node: Mapping[str, Any], groups: Sequence[Mapping[str, Any]], points: float) -> None:
    """A layer as a circle whose area is its out width; several groups share it by slices."""
    centre, radius, turn = (node["x"], node["y"] - LABEL / 2), node["radius"], 90.0
    total = sum(segment["n"] for segment in node["out"])
    for segment in node["out"]:
        part = 360 * segment["n"] / total
        shape = Circle(centre, radius) if part == 360 else Wedge(centre, radius, turn - part, turn)
        shape.set(zorder=3, **_look(segment, groups))
        axes.add_patch(shape)
        turn -= part
    _outline(axes, Circle(centre, node["was_radius"]))
    _count(axes, centre[0] + max(radius, node["was_radius"]), centre[1], node["count"]["out"], points)
    text = shown(f"{node['label']} {node['detail']}".strip())
    below = node["y"] + node["h"] / 2 - LABEL / 2
    axes.text(node["x"], below, text, fontsize=9 * points, ha="center", va="center", zorder=3)


def _look(segment: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The colour of a segment's group, hatched where it can't change."""
    colour = groups[segment["g"]]["colour"] if segment["g"] >= 0 else "#c3c8d0"
    hatch = {"hatch": "//////", "edgecolor": "#00000090", "linewidth": 0} if segment["r"] else {}
    return {"facecolor": colour, **hatch}


def _outline(axes: Any, patch: Any) -> None:
    """What a width was before, dashed."""
    patch.set(fill=False, edgecolor=INK, linestyle=(0, (3, 2)), linewidth=0.6, zorder=4)
    if max(patch.get_extents().size) > 0:
        axes.add_patch(patch)


def shown(name: str) -> str:
    """A name from a model as matplotlib shows it: a dollar sign starts no mathematics, an underscore hides no line."""
    text = "".join(letter if letter.isprintable() else "?" for letter in name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
