from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chanc.report.layout import lay_out


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 40))
    sizes = [(draw(st.integers(20, 200)) * 1.0, draw(st.sampled_from([24.0, 40.0]))) for _ in range(count)]
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] < pair[1])
    edges = draw(st.lists(pairs, max_size=80)) if count > 1 else []
    return sizes, edges


def boxes(layout, sizes):
    return [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y), (w, h) in zip(layout.centres, sizes, strict=True)]


def overlaps(first, second):
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_boxes_never_overlap_and_all_lies_inside(graph):
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    placed = boxes(layout, sizes)
    assert not any(overlaps(placed[i], placed[j]) for i in range(len(placed)) for j in range(i))
    for left, top, right, bottom in placed:
        assert left >= 0
        assert top >= 0
        assert right <= layout.width
        assert bottom <= layout.height
    assert all(0 <= x <= layout.width and 0 <= y <= layout.height for path in layout.paths for x, y in path)


@given(graphs())
@settings(max_examples=20, deadline=None)
def test_edges_run_from_bottom_to_top_of_their_boxes_in_cubic_segments(graph):
    sizes, edges = graph
    layout = lay_out(sizes, edges)
    placed = boxes(layout, sizes)
    for (source, target), path in zip(edges, layout.paths, strict=True):
        assert len(path) % 3 == 1
        assert path[0] == pytest.approx((layout.centres[source][0], placed[source][3]), abs=0.11)
        assert path[-1] == pytest.approx((layout.centres[target][0], placed[target][1]), abs=0.11)


def test_a_chain_with_skips_keeps_its_skips_clear_of_the_boxes_between():
    sizes = [(100.0, 40.0)] * 6
    layout = lay_out(sizes, [(i, i + 1) for i in range(5)] + [(0, 4)], aspect=0.1)
    placed = boxes(layout, sizes)
    path = layout.paths[-1]
    # the straight part of the detour, its second segment
    assert all(path[3][0] > right and path[6][0] > right for _, _, right, _ in placed[1:4])


def test_a_long_chain_is_folded_to_the_shape_of_a_screen_and_does_not_recurse():
    count = 3000
    layout = lay_out([(120.0, 40.0)] * count, [(i, i + 1) for i in range(count - 1)])
    assert 0.5 < layout.width / layout.height < 4
    assert len({x for x, _ in layout.centres}) > 10


def test_a_backward_edge_is_refused():
    with pytest.raises(ValueError, match="earlier node"):
        lay_out([(10.0, 10.0)] * 2, [(1, 0)])


def test_nothing_gives_nothing():
    assert lay_out([], []).centres == []


def test_the_same_graph_gives_the_same_drawing():
    sizes, edges = [(50.0, 24.0)] * 30, [(i, j) for i in range(30) for j in range(i + 1, min(i + 4, 30))]
    assert lay_out(sizes, edges) == lay_out(sizes, edges)
