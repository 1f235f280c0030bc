"""A layered drawing of a long, thin graph, folded into columns so that 500 layers still fit a screen.

Ranks by longest path, order in a rank by barycentres (Sugiyama et al. 1981), x by pooled means, then the ranks are cut
into columns where few edges cross. Edges to the next rank are curves; longer ones run in lanes beside the column.
Everything is iterative and near linear in the number of edges: 2,000 layers take well under a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chanc.report.routes import GUTTER, LANE, SPACE_Y, Drawing, Point, lanes_of, path_of

SPACE_X = 26.0
MAX_COLUMNS = 40
# a column of fewer ranks costs more in long edges than it saves in height
FEWEST_RANKS = 8


@dataclass(frozen=True)
class Layout:
    """Where everything lies, in pixels, y downwards.

    `centres`: one point a node. `paths`: one list of points an edge: a start, then three points a cubic Bézier segment.
    """

    centres: list[Point]
    paths: list[list[Point]]
    width: float
    height: float


def lay_out(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], aspect: float = 1.4) -> Layout:
    """Lay a graph out.

    `sizes`: width and height of each node in pixels; the nodes stand in topological order. `edges`: (from, to) indices
    with from < to. `aspect`: the wanted width/height of the whole. Raises ValueError for an edge that runs backwards.
    """
    if any(not 0 <= source < target < len(sizes) for source, target in edges):
        raise ValueError("edges must run from an earlier node to a later one")
    if not sizes:
        return Layout([], [], 0.0, 0.0)
    drawing = Drawing(sizes, edges)
    _assign_ranks(drawing)
    _order(drawing)
    _assign_x(drawing)
    paths = _fold(drawing, aspect)
    return _trimmed(drawing, paths)


def _assign_ranks(drawing: Drawing) -> None:
    drawing.rank = [0] * len(drawing.sizes)
    for source, target in sorted(set(drawing.edges)):
        drawing.before[target].append(source)
        drawing.after[source].append(target)
    for node in range(len(drawing.sizes)):
        drawing.rank[node] = max((drawing.rank[source] + 1 for source in drawing.before[node]), default=0)
    for node in reversed(range(len(drawing.sizes))):
        # a source moves down to what it feeds, so that its edge stays short
        if not drawing.before[node] and drawing.after[node]:
            drawing.rank[node] = min(drawing.rank[target] for target in drawing.after[node]) - 1
    drawing.ranks = [[] for _ in range(max(drawing.rank) + 1)]
    for node, rank in enumerate(drawing.rank):
        drawing.ranks[rank].append(node)


def _order(drawing: Drawing, sweeps: int = 4) -> None:
    place = [0.0] * len(drawing.sizes)

    def settle(members: list[int]) -> None:
        for index, node in enumerate(members):
            place[node] = (index + 0.5) / len(members)

    for members in drawing.ranks:
        settle(members)
    for sweep in range(sweeps):
        neighbours, ranks = (drawing.before, drawing.ranks) if sweep % 2 == 0 else (drawing.after, drawing.ranks[::-1])
        for members in ranks:
            means = {node: _mean([place[other] for other in neighbours[node]], place[node]) for node in members}
            members.sort(key=means.__getitem__)
            settle(members)


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _assign_x(drawing: Drawing, sweeps: int = 6) -> None:
    drawing.x = [0.0] * len(drawing.sizes)
    for sweep in range(sweeps):
        ranks = drawing.ranks if sweep % 2 == 0 else drawing.ranks[::-1]
        for members in ranks:
            wanted = []
            for node in members:
                near = [*drawing.before[node], *drawing.after[node]]
                wanted.append(_mean([drawing.x[other] for other in near], 0.0) if sweep else 0.0)
            _place(drawing, members, wanted)


def _place(drawing: Drawing, members: Sequence[int], wanted: Sequence[float]) -> None:
    """Put a rank's nodes as near to the wanted x as order and sizes allow (least squares, pool adjacent violators)."""
    offsets = [0.0]
    for left, right in pairwise(members):
        offsets.append(offsets[-1] + (drawing.sizes[left][0] + drawing.sizes[right][0]) / 2 + SPACE_X)
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        total, count = want - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            last = blocks.pop()
            total, count = total + last[0], count + last[1]
        blocks.append((total, count))
    starts = [total / count for total, count in blocks for _ in range(count)]
    for node, start, offset in zip(members, starts, offsets, strict=True):
        drawing.x[node] = start + offset


def _fold(drawing: Drawing, aspect: float) -> list[list[Point]]:
    heights = [max(drawing.sizes[node][1] for node in members) + SPACE_Y for members in drawing.ranks]
    most = min(MAX_COLUMNS, max(1, len(heights) // FEWEST_RANKS))
    tried = (_cuts(drawing, heights, columns) for columns in range(1, most + 1))
    cuts = min(tried, key=_misfit(drawing, heights, aspect))
    drawing.column = [0] * len(drawing.ranks)
    drawing.y = [0.0] * len(drawing.sizes)
    lanes = lanes_of(drawing, cuts)
    rights, shift = [], 0.0
    for number, (first, last) in enumerate(cuts):
        members = [node for rank in drawing.ranks[first:last] for node in rank]
        left, right = drawing.span(members)
        top = 0.0
        for rank in range(first, last):
            drawing.column[rank] = number
            for node in drawing.ranks[rank]:
                drawing.x[node] += shift - left
                drawing.y[node] = top + heights[rank] / 2
            top += heights[rank]
        here = [lane for (source, _), lane in lanes.items() if first <= drawing.rank[source] < last]
        rights.append(shift + right - left + LANE * (max(here, default=-1) + 1))
        shift = rights[-1] + GUTTER
    return [path_of(drawing, edge, lanes, rights) for edge in drawing.edges]


def _misfit(drawing: Drawing, heights: Sequence[float], aspect: float) -> Callable[[list[tuple[int, int]]], float]:
    """Return a function that says how far the shape of a cut is from the wanted one, as the logarithm of the ratio."""
    spans = [drawing.span(members) for members in drawing.ranks]

    def misfit(cuts: list[tuple[int, int]]) -> float:
        width = sum(
            max(right for _, right in spans[first:last]) - min(left for left, _ in spans[first:last]) + GUTTER + LANE
            for first, last in cuts
        )
        return abs(math.log(width / max(sum(heights[first:last]) for first, last in cuts) / aspect))

    return misfit


def _cuts(drawing: Drawing, heights: Sequence[float], columns: int) -> list[tuple[int, int]]:
    """Cut the ranks into columns of about equal height, each cut where the fewest edges cross within reach."""
    crossing = [0] * (len(heights) + 1)
    for source, target in drawing.edges:
        crossing[drawing.rank[source] + 1] += 1
        crossing[drawing.rank[target] + 1] -= 1
    for rank in range(1, len(crossing)):
        crossing[rank] += crossing[rank - 1]
    ends = [0.0]
    for height in heights:
        ends.append(ends[-1] + height)
    share = ends[-1] / columns
    cuts, start = [], 0
    for number in range(1, columns):
        near = [rank for rank in range(start + 1, len(heights)) if abs(ends[rank] - number * share) <= share / 8]
        if near:
            cut = min(near, key=lambda rank: (crossing[rank], abs(ends[rank] - number * share)))
            cuts.append((start, cut))
            start = cut
    return [*cuts, (start, len(heights))]


def _trimmed(drawing: Drawing, paths: list[list[Point]], margin: float = 20.0) -> Layout:
    corners = [point for path in paths for point in path]
    for node, (width, height) in enumerate(drawing.sizes):
        corners += [
            (drawing.x[node] - width / 2, drawing.y[node] - height / 2),
            (drawing.x[node] + width / 2, drawing.y[node] + height / 2),
        ]
    left, top = min(x for x, _ in corners) - margin, min(y for _, y in corners) - margin
    right, bottom = max(x for x, _ in corners) + margin, max(y for _, y in corners) + margin
    return Layout(
        [(round(x - left, 1), round(y - top, 1)) for x, y in zip(drawing.x, drawing.y, strict=True)],
        [[(round(x - left, 1), round(y - top, 1)) for x, y in path] for path in paths],
        round(right - left, 1),
        round(bottom - top, 1),
    )
