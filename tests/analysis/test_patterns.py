from __future__ import annotations

import pytest

from chanc.analysis import analyze
from chanc.analysis.patterns import matching
from chanc.errors import PlanError
from chanc.testing.graphs import Graph


def test_groups_go_by_their_id_their_makers_weight_and_their_makers_node() -> None:
    graph = Graph()
    x = graph.input("image", [1, 3, 8, 8]).conv(16, 3)
    analysis = analyze(graph.model(x.conv(16, 3) + x.conv(16, 3)))
    stem, stream = (group for group in analysis.groups if group.resizable or len(group.producers) == 2)
    assert len(stream.producers) == 2
    for maker in stream.producers:
        assert matching(analysis, maker.initializer) == matching(analysis, maker.node) == (stream,)
    assert stem in matching(analysis, f"{stem.id[:-1]}?")
    assert matching(analysis, stem.id) == (stem,)
    assert matching(analysis, "*") == analysis.groups


def test_a_consumer_does_not_name_the_group_that_it_reads() -> None:
    graph = Graph()
    analysis = analyze(graph.model(graph.input("image", [1, 3, 8, 8]).conv(16, 3).conv(24, 3)))
    found = [[group.size for group in matching(analysis, group.producers[0].initializer)]
             for group in analysis.groups if group.producers]  # fmt: skip
    assert found == [[16], [24]]


def test_a_pattern_of_nothing_is_refused() -> None:
    graph = Graph()
    analysis = analyze(graph.model(graph.input("image", [1, 3, 8, 8]).conv(16, 3)))
    with pytest.raises(PlanError, match=r"no channel group matches 'haed\.\*': `chanc analyze` lists them"):
        matching(analysis, "haed.*")
