from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

from chanc.analysis import analyze
from chanc.analysis.patterns import matching
from chanc.errors import PlanError
from chanc.testing.builders import build
from chanc.testing.graphs import Graph

WEIGHTS = {"w": (4, 3, 1, 1), "v": (2, 4, 1, 1)}


def renamed(model: onnx.ModelProto, name: Callable[[str], str]) -> onnx.ModelProto:
    """The model with other names of its initializers, such as the text of a graph can't have."""
    names = {tensor.name: name(tensor.name) for tensor in model.graph.initializer}
    for tensor in model.graph.initializer:
        tensor.name = names[tensor.name]
    for node in model.graph.node:
        node.input[:] = [names.get(read, read) for read in node.input]
    return model


def dotted(name: str) -> str:
    return name.replace("_", ".")


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


def test_nodes_go_by_their_own_names_too() -> None:
    model = build("float[1,3,4,4] x", "float y", "a = Conv(x, w)\nb = Relu(a)\ny = Conv(b, v)", WEIGHTS)
    model.graph.node[0].name = "/stem/Conv"
    analysis = analyze(model)
    assert [group.id for group in matching(analysis, "/stem/*")] == ["w"]


def test_what_only_passes_channels_on_names_them_where_nothing_else_does() -> None:
    body = "a = Conv(x, w)\nb = BatchNormalization(a, norm_scale, norm_bias, norm_mean, norm_var)\ny = Conv(b, v)"
    norm = {f"norm_{name}": (4,) for name in ("scale", "bias", "mean", "var")}
    analysis = analyze(renamed(build("float[1,3,4,4] x", "float y", body, {**WEIGHTS, **norm}), dotted))
    assert [group.id for group in matching(analysis, "norm.*")] == ["w"]


def test_a_name_with_brackets_is_a_name() -> None:
    model = build("float[1,3,4,4] x", "float y", "a = Conv(x, w)\ny = Conv(a, v)", WEIGHTS)
    analysis = analyze(renamed(model, "net[{}]".format))
    assert [group.id for group in matching(analysis, "net[w]")] == ["net[w]"]


@pytest.mark.parametrize(
    ("pattern", "guess"),
    [
        ("haed.weight", "'head.weight'"),
        ("haed.*", "'head.*'"),
        ("head.weigth", "'head.weight'"),
        ("stem/*", "'stem.*'"),
    ],
)
def test_a_pattern_of_nothing_is_refused_with_what_may_be_meant(pattern: str, guess: str) -> None:
    body = "a = Conv(x, stem_weight)\nb = Conv(a, body_weight)\ny = Conv(b, head_weight)"
    weights = {"stem_weight": (4, 3, 1, 1), "body_weight": (5, 4, 1, 1), "head_weight": (2, 5, 1, 1)}
    analysis = analyze(renamed(build("float[1,3,4,4] x", "float y", body, weights), dotted))
    with pytest.raises(PlanError) as error:
        matching(analysis, pattern)
    assert str(error.value).startswith(f"no channel group matches '{pattern}' (did you mean {guess}")
    with pytest.raises(PlanError, match=r"no channel group matches 'zzz': `chanc analyze --deps` lists them"):
        matching(analysis, "zzz")
