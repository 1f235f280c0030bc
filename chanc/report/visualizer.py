"""The channel visualizer: a network as a graph on which its channel groups can be seen (CONet, figure 7, and more).

A layer is two bars, in width above and out width below, coloured by channel group; what can't change is hatched.
"""

from __future__ import annotations

import os
from collections import Counter
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


def model_graph(analysis: Analysis, reads: Reads | None = None) -> dict[str, Any]:
    """Return the network of an analysed model, laid out, as JSON data; `reads`: the units that single readers keep.

    `nodes`: name, op, kind, label, detail, x, y, w, h (pixels), in and out (segments: g = index of the group or -1,
    n = channels, d = how many of them the node drops, r = the reason where they can't change), in_px and out_px (bar
    lengths, proportional to the square root of the width), pinned, after. `edges`: from, to, p (Bézier points), read
    (the share of the channels that the reader at the end takes). `groups`: id, size, step, resizable, reason, exact,
    colour, nodes, operands. `pinned`: tensor, node, op, reason. `scale`: sample widths and their bars.
    """
    network = build_network(analysis, reads)
    shares = _shares(network)
    widest = max((_width(side) for v in network.vertices for side in (v.inside, v.outside)), default=1)
    boxes = [_box(vertex, widest) for vertex in network.vertices]
    edges = list(network.edges)
    layout = lay_out(boxes, edges)
    nodes = [
        _node(vertex, box, centre, widest)
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
        "scale": [{"n": width, "px": _bar(width, widest)} for width in _samples(widest)],
    }


def write_html(analysis: Analysis, path: str | os.PathLike[str], title: str = "") -> None:
    """Write the channel visualizer of an analysed model as one self-contained HTML page. Raises OSError."""
    from chanc.files import atomic_write_text

    title = title or f"Channel groups of {analysis.model.graph.name or Path(path).stem}"
    atomic_write_text(path, page(title, {"graph": model_graph(analysis)}, ["page.js", "graph.js", "boot.js"]))


def _width(segments: tuple[Segment, ...]) -> int:
    return sum(segment.channels for segment in segments)


def _read(segments: tuple[Segment, ...]) -> int:
    return sum(segment.channels - segment.dropped for segment in segments)


def _counted(segments: tuple[Segment, ...]) -> str:
    """The number at a bar's right end: 36, or 12 of 36."""
    read, width = _read(segments), _width(segments)
    return str(width) if read == width else f"{read} of {width}"


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


def _bar(width: int, widest: int) -> float:
    return round(max(SHORTEST_BAR, LONGEST_BAR * (width / max(widest, 1)) ** 0.5), 1) if width else 0.0


def _samples(widest: int) -> list[int]:
    """Return three widths for the legend: the widest and smaller powers of two."""
    return sorted({max(1, 2 ** ((widest).bit_length() - 1 - shift)) for shift in (5, 3, 1)} | {widest})


def _box(vertex: Vertex, widest: int) -> tuple[float, float]:
    if vertex.kind == "layer":
        # a bar has its number at its right end, and stays in the middle
        bars = [
            _bar(_width(side), widest) + 2 * (DIGIT * len(_counted(side)) + 5)
            for side in (vertex.inside, vertex.outside)
        ]
        return max(*bars, LETTER * len(_text(vertex)), 60.0) + 8.0, LAYER_HEIGHT
    return max(LETTER * len(_text(vertex)) + 18.0, _bar(_width(vertex.outside), widest) + 8.0), OP_HEIGHT


def _text(vertex: Vertex) -> str:
    return f"{vertex.label} {vertex.detail}".strip()


def _node(vertex: Vertex, box: tuple[float, float], centre: tuple[float, float], widest: int) -> dict[str, Any]:
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
        "in_px": _bar(_width(vertex.inside), widest),
        "out_px": _bar(_width(vertex.outside), widest),
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
