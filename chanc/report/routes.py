"""Edges of a folded, layered drawing: curves to the next rank, lanes beside the column for the longer ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

SPACE_Y = 26.0
LANE = 7.0
MAX_LANES = 12
GUTTER = 60.0
TURN = SPACE_Y * 0.7

Point = tuple[float, float]


@dataclass
class Drawing:
    """A drawing in the making: sizes and edges as given; rank, x and y of each node; the column of each rank."""

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


def lanes_of(drawing: Drawing, cuts: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
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


def path_of(
    drawing: Drawing, edge: tuple[int, int], lanes: dict[tuple[int, int], int], columns: Sequence[float]
) -> list[Point]:
    """Return an edge's Bézier points; `columns`: the right end of each column with its lanes."""
    source, target = edge
    start = (drawing.x[source], drawing.y[source] + drawing.sizes[source][1] / 2)
    end = (drawing.x[target], drawing.y[target] - drawing.sizes[target][1] / 2)
    here, there = drawing.column[drawing.rank[source]], drawing.column[drawing.rank[target]]
    if edge in lanes:
        passed = [node for rank in drawing.ranks[drawing.rank[source] + 1 : drawing.rank[target]] for node in rank]
        if not _blocked(drawing, start, end, passed):
            return [start, *_curve(start, end)]
        lane_x = drawing.span([*passed, source, target])[1] + LANE * (lanes[edge] + 1.5)
        return _detour(start, end, [lane_x])
    if here == there:
        return [start, *_curve(start, end)]
    # lines of different sources lie side by side in the gutter
    aside = GUTTER * (0.25 + 0.1 * (source % 6))
    return _detour(start, end, list(dict.fromkeys([columns[here] + aside, columns[there - 1] + aside])))


def _blocked(drawing: Drawing, start: Point, end: Point, passed: Sequence[int]) -> bool:
    """Say whether a curve from start to end would run behind one of the boxes it passes."""
    low, high = min(start[0], end[0]) - 8, max(start[0], end[0]) + 8
    return any(
        drawing.x[node] - drawing.sizes[node][0] / 2 < high and drawing.x[node] + drawing.sizes[node][0] / 2 > low
        for node in passed
    )


def _curve(start: Point, end: Point) -> list[Point]:
    middle = (start[1] + end[1]) / 2
    return [(start[0], middle), (end[0], middle), end]


def _detour(start: Point, end: Point, stops: Sequence[float]) -> list[Point]:
    """Return a path that leaves downwards, runs along x = `stops` (two are joined above all columns), and enters."""
    first, last = stops[0], stops[-1]
    across = -SPACE_Y / 2
    below = start[1] + TURN
    leaves_down = len(stops) == 1 and below < end[1] - TURN
    if leaves_down:
        path = [start, (start[0], below), (first, start[1]), (first, below)]
    else:
        path = [start, (start[0], below), (first, below), (first, start[1])]
    if len(stops) > 1:
        path += [*_line((first, start[1]), (first, across)), *_line((first, across), (last, across))]
    above = end[1] - TURN
    if leaves_down or len(stops) > 1:
        return [*path, *_line(path[-1], (last, above)), (last, end[1]), (end[0], above), end]
    return [*path, *_line(path[-1], (last, end[1])), (last, above), (end[0], above), end]


def _line(start: Point, end: Point) -> list[Point]:
    return [start, end, end]
