"""The channel visualizer: a network as a graph on which its channel groups can be seen (CONet, figure 7, and more).

A layer is two bars, in width above and out width below, coloured by channel group; what can't change is hatched. Or it
is a circle whose area is its out width (CONetV2, figure 7). Dashed are the widths of the model from which it came.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chanc.report.colours import group_colour
from chanc.report.embed import page
from chanc.report.graph import Network, Reads, Segment, Vertex, build_network
from chanc.report.layout import lay_out

if TYPE_CHECKING:
    from chanc.analysis import Analysis, Group

LONGEST_BAR = 150.0
SHORTEST_BAR = 5.0
LETTER = 6.3
DIGIT = 5.8
LAYER_HEIGHT = 40.0
OP_HEIGHT = 24.0
LABEL = 14.0
"""The height of the line below a circle."""
ROUND = 0.18
"""The radius of a circle over the length of the bar of the same width: both grow with its square root."""


@dataclass(frozen=True)
class _Sizes:
    """How large widths are drawn; widest: in channels, before: the nodes by name as they were."""

    widest: int
    circles: bool
    before: Mapping[str, Vertex]

    def bar(self, width: int) -> float:
        return round(max(SHORTEST_BAR, LONGEST_BAR * (width / max(self.widest, 1)) ** 0.5), 1) if width else 0.0

    def radius(self, width: int) -> float:
        return round(ROUND * self.bar(width), 1)

    def was(self, vertex: Vertex, side: str) -> int:
        """The width of a layer's side before, where it was another one; else 0."""
        twin = self.before.get(vertex.name)
        if twin is None or twin.kind != "layer":
            return 0
        return width if (width := _width(getattr(twin, side))) != _width(getattr(vertex, side)) else 0


def model_graph(
    analysis: Analysis, reads: Reads | None = None, *, circles: bool = False, before: Analysis | None = None
) -> dict[str, Any]:
    """Return the network of an analysed model, laid out, as JSON data.

    reads: the units that single readers keep. circles: layers are circles. before: the model that this one came from.

    `nodes`: name, op, kind, label, detail, x, y, w, h (pixels), in and out (segments: g = index of the group or -1,
    n = channels, d = how many of them the node drops, r = the reason where they can't change), in_px and out_px (bar
    lengths, proportional to the square root of the width), in_was_px and out_was_px (before, where they were others,
    else 0), radius and was_radius of a circle, count (the numbers of both sides), pinned, after. `edges`: from, to, p
    (Bézier points), read (the share of the channels that the reader at the end takes). `groups`: id, size, step,
    resizable, reason, exact, colour, nodes, operands. `pinned`: tensor, node, op, reason. `scale`: sample widths and
    their bars. `before`: params and macs of that model.
    """
    network = build_network(analysis, reads)
    shares = _shares(network)
    earlier = build_network(before).vertices if before is not None else []
    widest = max((_width(side) for v in [*network.vertices, *earlier] for side in (v.inside, v.outside)), default=1)
    sizes = _Sizes(widest, circles, {vertex.name: vertex for vertex in earlier})
    boxes = [_box(vertex, sizes) for vertex in network.vertices]
    edges = list(network.edges)
    layout = lay_out(boxes, edges)
    nodes = [
        _node(vertex, box, centre, sizes)
        for vertex, box, centre in zip(network.vertices, boxes, layout.centres, strict=True)
    ]
    return {
        "nodes": nodes,
        "edges": [
            {
                "from": source,
                "to": target,
                "p": [number for point in path for number in point],
                "read": round(shares[source, target], 3),
            }
            for (source, target), path in zip(edges, layout.paths, strict=True)
        ],
        "groups": [_group(index, group, network) for index, group in enumerate(analysis.groups)],
        "pinned": [
            {"tensor": pin.tensor, "node": pin.node, "op": pin.op, "reason": pin.reason} for pin in analysis.pinned
        ],
        "params": int(analysis.params),
        "macs": int(analysis.macs),
        "width": layout.width,
        "height": layout.height,
        "scale": [{"n": width, "px": sizes.bar(width)} for width in _samples(widest)],
        "circles": circles,
        "before": {"params": int(before.params), "macs": int(before.macs)} if before is not None else None,
    }


def write_html(
    analysis: Analysis,
    path: str | os.PathLike[str],
    title: str = "",
    *,
    circles: bool = False,
    before: Analysis | None = None,
) -> None:
    """Write the channel visualizer of an analysed model as one self-contained HTML page. Raises OSError.

    circles, before: as for `model_graph`.
    """
    from chanc.files import atomic_write_text

    title = title or f"Channel groups of {analysis.model.graph.name or Path(path).stem}"
    graph = model_graph(analysis, circles=circles, before=before)
    atomic_write_text(path, page(title, {"graph": graph}, ["page.js", "graph.js", "boot.js"]))


def _width(segments: tuple[Segment, ...]) -> int:
    return sum(segment.channels for segment in segments)


def _read(segments: tuple[Segment, ...]) -> int:
    return sum(segment.channels - segment.dropped for segment in segments)


def _counted(vertex: Vertex, side: str, sizes: _Sizes) -> str:
    """The number beside a bar or a circle: 36, or 12 of 36, or 64 → 36 where it was another one before."""
    segments = getattr(vertex, side)
    read, width, was = _read(segments), _width(segments), sizes.was(vertex, side)
    now = f"{read} of {width}" if read != width else str(width or "")
    return f"{was} → {now}" if was else now


def _shares(network: Network) -> dict[tuple[int, int], float]:
    """The share of an edge's channels that its reader takes, through layers before it that keep channels apart."""
    ways = Counter(end for edge in network.edges for end in (("out", edge[0]), ("in", edge[1])))
    shares: dict[tuple[int, int], float] = {}
    behind: dict[int, float] = {}
    for source, target in reversed(network.edges):
        vertex = network.vertices[target]
        # A depthwise filter's two sides are one.
        alone = vertex.inside is vertex.outside and ways["in", target] == ways["out", target] == 1
        own = _read(vertex.inside) / _width(vertex.inside) if vertex.kind == "layer" and vertex.inside else 1.0
        shares[source, target] = behind[source] = behind.get(target, 1.0) if alone else own
    return shares


def _samples(widest: int) -> list[int]:
    """Return three widths for the legend: the widest and smaller powers of two."""
    return sorted({max(1, 2 ** ((widest).bit_length() - 1 - shift)) for shift in (5, 3, 1)} | {widest})


def _box(vertex: Vertex, sizes: _Sizes) -> tuple[float, float]:
    text = LETTER * len(_text(vertex))
    if vertex.kind != "layer":
        return max(text + 18.0, sizes.bar(_width(vertex.outside)) + 8.0), OP_HEIGHT
    # a bar or a circle has its number at its right end, and stays in the middle
    counts = {side: 2 * (DIGIT * len(_counted(vertex, side, sizes)) + 5) for side in ("inside", "outside")}
    if sizes.circles:
        radius = max(sizes.radius(_width(vertex.outside)), sizes.radius(sizes.was(vertex, "outside")))
        return max(2 * radius + counts["outside"], text) + 8.0, 2 * radius + LABEL
    bars = [
        max(sizes.bar(_width(getattr(vertex, side))), sizes.bar(sizes.was(vertex, side))) + count
        for side, count in counts.items()
    ]
    return max(*bars, text, 60.0) + 8.0, LAYER_HEIGHT


def _text(vertex: Vertex) -> str:
    return f"{vertex.label} {vertex.detail}".strip()


def _node(vertex: Vertex, box: tuple[float, float], centre: tuple[float, float], sizes: _Sizes) -> dict[str, Any]:
    return {
        "name": vertex.name,
        "op": vertex.op,
        "kind": vertex.kind,
        "label": vertex.label,
        "detail": vertex.detail,
        "x": centre[0],
        "y": centre[1],
        "w": round(box[0], 1),
        "h": box[1],
        "in": [_segment(segment) for segment in vertex.inside],
        "out": [_segment(segment) for segment in vertex.outside],
        "in_px": sizes.bar(_width(vertex.inside)),
        "out_px": sizes.bar(_width(vertex.outside)),
        "in_was_px": sizes.bar(sizes.was(vertex, "inside")),
        "out_was_px": sizes.bar(sizes.was(vertex, "outside")),
        "radius": sizes.radius(_width(vertex.outside)),
        "was_radius": sizes.radius(sizes.was(vertex, "outside")),
        "count": {"in": _counted(vertex, "inside", sizes), "out": _counted(vertex, "outside", sizes)},
        "pinned": vertex.pinned,
        "after": vertex.after,
    }


def _segment(segment: Segment) -> dict[str, Any]:
    return {"g": segment.group, "n": segment.channels, "d": segment.dropped, "r": segment.reason}


def _group(index: int, group: Group, network: Network) -> dict[str, Any]:
    touching = [
        number
        for number, vertex in enumerate(network.vertices)
        if any(segment.group == index for segment in (*vertex.inside, *vertex.outside))
    ]
    return {
        "id": group.id,
        "size": group.size,
        "step": group.step,
        "resizable": group.resizable,
        "reason": group.reason,
        "exact": group.exact,
        "colour": group_colour(index),
        "members": len(group.members),
        "nodes": touching,
        "operands": [
            {
                "node": operand.node,
                "op": operand.op,
                "initializer": operand.initializer,
                "axis": operand.axis,
                "role": operand.role,
            }
            for operand in group.operands
        ],
    }
