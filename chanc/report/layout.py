"""A layered drawing of a long, thin graph, folded into columns so that 500 layers still fit a screen.

Ranks by longest path, order in a rank by barycentres (Sugiyama et al. 1981), x by pooled means, then the ranks are cut
into columns where few edges cross. Edges to the next rank are curves; longer ones run in lanes beside the column.
Everything is iterative and near linear in the number of edges: 2,000 layers take well under a second.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SPACE_X = 26.0
SPACE_Y = 26.0
LANE = 7.0
MAX_LANES = 12
GUTTER = 60.0
MAX_COLUMNS = 40

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Where everything lies, in pixels, y downwards.

    `centres`: one point a node. `paths`: one list of points an edge: a start, then three points a cubic Bézier segment.
    """

    centres: list[Point]
    paths: list[list[Point]]
    width: float
    height: float


@dataclass
class _Drawing:
    sizes: Sequence[tuple[float, float]]
    edges: Sequence[tuple[int, int]]
    rank: list[int] = field(default_factory=list)
    ranks: list[list[int]] = field(default_factory=list)
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    column: list[int] = field(default_factory=list)
    before: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    after: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def span(self, members: Sequence[int]) -> tuple[float, float]:
        """Return the leftmost and rightmost x that the boxes of some nodes take."""
        return (
            min(self.x[node] - self.sizes[node][0] / 2 for node in members),
            max(self.x[node] + self.sizes[node][0] / 2 for node in members),
        )


def lay_out(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], aspect: float = 1.4) -> Layout:
    """Lay a graph out.

    `sizes`: width and height of each node in pixels; the nodes stand in topological order. `edges`: (from, to) indices
    with from < to. `aspect`: the wanted width/height of the whole. Raises ValueError for an edge that runs backwards.
    """
    if any(not 0 <= source < target < len(sizes) for source, target in edges):
        raise ValueError("edges must run from an earlier node to a later one")
    if not sizes:
        return Layout([], [], 0.0, 0.0)
    drawing = _Drawing(sizes, edges)
    _assign_ranks(drawing)
    _order(drawing)
    _assign_x(drawing)
    paths = _fold(drawing, aspect)
    return _trimmed(drawing, paths)


def _assign_ranks(drawing: _Drawing) -> None:
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


def _order(drawing: _Drawing, sweeps: int = 4) -> None:
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


def _assign_x(drawing: _Drawing, sweeps: int = 6) -> None:
    drawing.x = [0.0] * len(drawing.sizes)
    for sweep in range(sweeps):
        ranks = drawing.ranks if sweep % 2 == 0 else drawing.ranks[::-1]
        for members in ranks:
            wanted = []
            for node in members:
                near = [*drawing.before[node], *drawing.after[node]]
                wanted.append(_mean([drawing.x[other] for other in near], 0.0) if sweep else 0.0)
            _place(drawing, members, wanted)


def _place(drawing: _Drawing, members: Sequence[int], wanted: Sequence[float]) -> None:
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


def _fold(drawing: _Drawing, aspect: float) -> list[list[Point]]:
    heights = [max(drawing.sizes[node][1] for node in members) + SPACE_Y for members in drawing.ranks]
    tried = (_cuts(drawing, heights, columns) for columns in range(1, MAX_COLUMNS + 1))
    cuts = min(tried, key=_misfit(drawing, heights, aspect))
    drawing.column = [0] * len(drawing.ranks)
    drawing.y = [0.0] * len(drawing.sizes)
    lanes = _lanes(drawing, cuts)
    edge_of_column, shift = [], 0.0
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
        edge_of_column.append((shift + right - left, top))
        shift += right - left + LANE * (max(here, default=-1) + 1) + GUTTER
    return [_path(drawing, edge, lanes, edge_of_column) for edge in drawing.edges]


def _misfit(drawing: _Drawing, heights: Sequence[float], aspect: float) -> Callable[[list[tuple[int, int]]], float]:
    """Return a function that says how far the shape of a cut is from the wanted one, as the logarithm of the ratio."""
    spans = [drawing.span(members) for members in drawing.ranks]

    def misfit(cuts: list[tuple[int, int]]) -> float:
        width = sum(
            max(right for _, right in spans[first:last]) - min(left for left, _ in spans[first:last]) + GUTTER + LANE
            for first, last in cuts
        )
        return abs(math.log(width / max(sum(heights[first:last]) for first, last in cuts) / aspect))

    return misfit


def _cuts(drawing: _Drawing, heights: Sequence[float], columns: int) -> list[tuple[int, int]]:
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
        near = [rank for rank in range(start + 1, len(heights)) if abs(ends[rank] - number * share) <= share / 5]
        if near:
            cut = min(near, key=lambda rank: (crossing[rank], abs(ends[rank] - number * share)))
            cuts.append((start, cut))
            start = cut
    return [*cuts, (start, len(heights))]


def _lanes(drawing: _Drawing, cuts: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Give each edge that passes ranks of its column a lane; short ones lie innermost, and past twelve they share."""
    column = {rank: number for number, (first, last) in enumerate(cuts) for rank in range(first, last)}
    taken: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    lanes: dict[tuple[int, int], int] = {}
    for source, target in sorted(set(drawing.edges), key=lambda e: drawing.rank[e[1]] - drawing.rank[e[0]]):
        first, last = drawing.rank[source], drawing.rank[target]
        if last - first < 2 or column[first] != column[last]:
            continue
        lane = 0
        while lane < MAX_LANES - 1 and any(first < end and start < last for start, end in taken[column[first], lane]):
            lane += 1
        taken[column[first], lane].append((first, last))
        lanes[source, target] = lane
    return lanes


def _path(
    drawing: _Drawing, edge: tuple[int, int], lanes: dict[tuple[int, int], int], columns: Sequence[tuple[float, float]]
) -> list[Point]:
    source, target = edge
    start = (drawing.x[source], drawing.y[source] + drawing.sizes[source][1] / 2)
    end = (drawing.x[target], drawing.y[target] - drawing.sizes[target][1] / 2)
    here, there = drawing.column[drawing.rank[source]], drawing.column[drawing.rank[target]]
    if edge in lanes:
        passed = [node for rank in drawing.ranks[drawing.rank[source] + 1 : drawing.rank[target]] for node in rank]
        if not _blocked(drawing, start, end, passed):
            return [start, *_curve(start, end)]
        ends = (source, target)
        lane_x = drawing.span([*passed, *ends])[1] + LANE * (lanes[edge] + 1.5)
        return _detour(start, end, lane_x)
    if here == there:
        return [start, *_curve(start, end)]
    gutter = columns[there - 1][0] + GUTTER * 0.72
    floor = max(columns[here][1], start[1]) + SPACE_Y / 2
    down, up = (gutter, floor - 2 * LANE), (gutter, end[1] - SPACE_Y / 4)
    crest = up[1] - 2 * LANE
    out, back = [(start[0], floor), (gutter, floor + LANE), down], [(gutter, crest), (end[0], crest), end]
    return [start, *out, down, up, up, *back]


def _blocked(drawing: _Drawing, start: Point, end: Point, passed: Sequence[int]) -> bool:
    """Say whether a curve from start to end would run behind one of the boxes it passes."""
    low, high = min(start[0], end[0]) - 8, max(start[0], end[0]) + 8
    return any(
        drawing.x[node] - drawing.sizes[node][0] / 2 < high and drawing.x[node] + drawing.sizes[node][0] / 2 > low
        for node in passed
    )


def _curve(start: Point, end: Point) -> list[Point]:
    middle = (start[1] + end[1]) / 2
    return [(start[0], middle), (end[0], middle), end]


def _detour(start: Point, end: Point, lane_x: float) -> list[Point]:
    turn = SPACE_Y * 0.7
    out, back = (lane_x, start[1] + turn), (lane_x, end[1] - turn)
    return [
        start,
        (start[0], start[1] + turn * 0.6),
        (lane_x, start[1] + turn * 0.2),
        out,
        out,
        back,
        back,
        (lane_x, end[1] - turn * 0.2),
        (end[0], end[1] - turn * 0.6),
        end,
    ]


def _trimmed(drawing: _Drawing, paths: list[list[Point]], margin: float = 20.0) -> Layout:
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
