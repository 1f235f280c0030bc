"""Edges: each consumer reads its own share of a tensor; the lowered model is the one with the other columns zeroed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import onnx
import onnx.numpy_helper as nh
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chanc.analysis import analyze
from chanc.boundary import strict
from chanc.errors import PlanError
from chanc.oracles import check_edges, check_shrink, differences, judge, zeroed
from chanc.rewriter import rewrite
from chanc.rewriter.edges import chains, consumers
from chanc.rewriter.edges.consecutive import consecutive
from chanc.testing.graphs import Graph
from chanc.testing.readers import NETWORKS, random_edges


@pytest.fixture(autouse=True)
def _mistakes_are_seen() -> Iterator[None]:
    with strict():
        yield


@pytest.fixture
def moving_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """On small networks zeros are cheaper than any cut."""
    monkeypatch.setattr(chains, "CUT", 0.0)


def two_readers(out: int = 8) -> onnx.ModelProto:
    """A convolution of 16 channels, and two of `out`, one behind a norm, the other behind a depthwise one, added."""
    x = Graph(opset=17).input("x", [1, 3, 8, 8], dynamic={0: "n"})
    made = x.conv(16).bn().relu()
    sum_ = made.bn().relu().conv(out) + made.relu().depthwise().conv(out, 1)
    return x.graph.model(sum_.gap().flatten().gemm(4))


def names(model: onnx.ModelProto) -> tuple[str, str]:
    """The edges of the two readers."""
    first, second, *_ = consumers(analyze(model))
    return first, second


def zeroed_by_hand(model: onnx.ModelProto, edges: dict[str, dict[str, list[int]]]) -> onnx.ModelProto:
    """The model with columns zeroed by numpy, in a copy of each weight."""
    twin = onnx.ModelProto.FromString(model.SerializeToString())
    arrays = {tensor.name: nh.to_array(tensor) for tensor in twin.graph.initializer}
    nodes = {node.output[0]: node for node in twin.graph.node}
    for name, operands in consumers(analyze(model)).items():
        node, index = name.rpartition(":")[::2]
        for group, operand in operands.items():
            units = range(len(operand.indices))
            dropped = np.setdiff1d(units, edges.get(name, {}).get(group, units)).astype(np.int64)
            weight = arrays[nodes[node].input[int(index)]].copy()
            np.moveaxis(weight, operand.axis, 0)[operand.indices[dropped].ravel()] = 0
            arrays[f"{name}.twin"] = weight
            nodes[node].input[int(index)] = f"{name}.twin"
    del twin.graph.initializer[:]
    twin.graph.initializer.extend(nh.from_array(array, name) for name, array in arrays.items())
    return twin


@pytest.mark.parametrize("network", NETWORKS)
@settings(max_examples=2, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1 << 16), grain=st.sampled_from([1, 4]))
def test_the_lowered_model_is_the_zeroed_one(network: str, seed: int, grain: int) -> None:
    model = NETWORKS[network](seed)
    edges = random_edges(analyze(model), seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "CUT", 0.0)
        lowered = rewrite(model, {"format": 2, "edges": edges}, round_to=grain)
    onnx.checker.check_model(lowered.model, full_check=True)
    for found in differences(zeroed_by_hand(model, edges), lowered.model):
        assert found.error <= 1e-5, (found, edges)


@pytest.mark.nightly
@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("network", NETWORKS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 16), grain=st.sampled_from([1, 4, 8]))
def test_a_second_rewrite_on_top_is_right(network: str, free: bool, seed: int, grain: int) -> None:
    model = NETWORKS[network](seed)
    edges = random_edges(analyze(model), seed)
    with pytest.MonkeyPatch.context() as patch:
        if free:
            patch.setattr(chains, "CUT", 0.0)
        check_edges(model, edges, round_to=grain)
        lowered = rewrite(model, {"edges": edges}, round_to=grain)
    check_shrink(lowered.model)


def test_a_second_rewrite_finds_slices_and_gathers(moving_is_free: None) -> None:
    model = NETWORKS["densenet"](3)
    lowered = rewrite(model, {"edges": random_edges(analyze(model), 3)})
    assert {edge.how for edge in lowered.trace.edges.values()} >= {"slice", "gather"}
    assert all(old > new for old, new in check_shrink(lowered.model).groups.values() if old > 1)


def test_what_is_cut_twice_is_cut_once(moving_is_free: None) -> None:
    """Edges of a model that had some already: what was picked from a tensor is picked from again, not from the pick."""
    model = NETWORKS["cells"](0)
    once = rewrite(model, {"edges": random_edges(analyze(model), 1)}).model
    edges = random_edges(analyze(once), 2)
    check_edges(once, edges)
    twice = rewrite(once, {"edges": edges}).model
    made = {output: node.op_type for node in twice.graph.node for output in node.output}
    cuts = [node for node in twice.graph.node if node.op_type in ("Slice", "Gather")]
    assert len(cuts) >= 3
    assert not [node.output[0] for node in cuts if made.get(node.input[0]) in ("Slice", "Gather")]
    onnx.checker.check_model(twice, full_check=True)


def test_slices_of_a_producer_in_another_order(moving_is_free: None) -> None:
    model = two_readers()
    first, second = names(model)
    trace = check_edges(model, {first: [0, 2, 4, 6, 8], second: [1, 2, 3, 8, 9, 10]})
    assert {name: edge.how for name, edge in trace.edges.items()} == {first: "slice", second: "slice"}
    assert trace.groups == {"w_1": (16, 9)}
    assert trace.unread == ("w_1",)
    assert trace.exact
    assert not trace.left


def test_the_private_chain_is_narrower(moving_is_free: None) -> None:
    model = two_readers()
    first, second = names(model)
    lowered = rewrite(model, {"edges": {first: [0, 1, 2], second: list(range(16))}}).model
    widths = {node.op_type: [] for node in lowered.graph.node}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in lowered.graph.initializer}
    for node in lowered.graph.node:
        widths[node.op_type].append(shapes.get(node.input[1]) if len(node.input) > 1 else None)
    assert widths["BatchNormalization"] == [(16,), (3,)]
    assert widths["Conv"] == [(16, 3, 3, 3), (8, 3, 3, 3), (16, 1, 3, 3), (8, 16, 1, 1)]


def test_readers_of_the_same_share_one_slice(moving_is_free: None) -> None:
    """Whichever of them is named first: the nodes stay sorted."""
    x = Graph(opset=17).input("x", [1, 3, 8, 8])
    made = x.conv(8).relu()
    model = x.graph.model(made.conv(4, 1) + made.conv(4, 1) + made.conv(4, 1))
    one, two, three, *_ = consumers(analyze(model))
    for order in ([two, one], [one, two]):
        edges = {name: [0, 1, 2] for name in order}
        check_edges(model, edges)
        lowered = rewrite(model, {"edges": edges}).model
        onnx.checker.check_model(lowered)
        assert sum(node.op_type == "Slice" for node in lowered.graph.node) == 1
    assert three not in edges


def test_three_sets_that_fit_no_order_are_gathered(moving_is_free: None) -> None:
    x = Graph(opset=17).input("x", [1, 3, 8, 8])
    made = x.conv(8).relu()
    ends = [made.conv(4, 1) for _ in range(3)]
    model = x.graph.model(ends[0] + ends[1] + ends[2])
    sets = ([0, 1, 2, 3], [0, 1, 4, 5], [0, 4, 2, 6])
    trace = check_edges(model, dict(zip(list(consumers(analyze(model)))[:3], sets, strict=True)))
    assert sorted(edge.how for edge in trace.edges.values()) == ["gather", "slice", "slice"]


def test_what_nobody_keeps_goes_with_its_producer() -> None:
    model = two_readers()
    first, second = names(model)
    trace = check_edges(model, {first: [0, 1, 2], second: [2, 1, 0]})
    assert {edge.how for edge in trace.edges.values()} == {"producer"}
    assert trace.groups == {"w_1": (16, 3)}


def test_zeros_where_moving_costs_more() -> None:
    model = two_readers(out=1)
    second = names(model)[1]
    lowered = rewrite(model, {"edges": {second: list(range(15))}})
    assert lowered.trace.edges[second].how == "dense"
    assert lowered.changed
    assert [node.op_type for node in lowered.model.graph.node] == [node.op_type for node in model.graph.node]


def test_widths_are_rounded_by_channels_that_are_read_by_zeros(moving_is_free: None) -> None:
    model = two_readers()
    first, second = names(model)
    edges = {"edges": {first: [0, 1, 2], second: [3, 4, 5, 6, 7]}}
    trace = check_edges(model, edges["edges"], round_to=4)
    assert trace.groups == {"w_1": (16, 8)}
    weights = {tensor.name: tuple(tensor.dims) for tensor in rewrite(model, edges, round_to=4).model.graph.initializer}
    assert (weights["w_1"], weights["w_16"], weights["w_23"]) == ((8, 3, 3, 3), (8, 4, 3, 3), (8, 8, 1, 1))


def test_a_consumer_that_keeps_nothing_goes() -> None:
    model = two_readers()
    first, second = names(model)
    lowered = rewrite(model, {"edges": {first: []}})
    assert lowered.trace.edges[first].how == "gone"
    assert len(lowered.model.graph.node) == len(model.graph.node) - 3
    assert sum(node.op_type == "Conv" for node in lowered.model.graph.node) == 3
    check_edges(model, {first: [], second: [0, 1]})


def test_a_swish_of_nothing_keeps_its_shape() -> None:
    """Both operands of its Mul are constants: none of them has the batch."""
    x = Graph(opset=17).input("x", [1, 3, 8, 8], dynamic={0: "n"})
    made = x.conv(4).conv(4)
    model = x.graph.model((made * made.sigmoid()).gap().flatten().gemm(2))
    check_edges(model, {names(model)[0]: []})


def test_a_node_that_nobody_reads_goes_with_its_part_of_a_concat(moving_is_free: None) -> None:
    x = Graph(opset=17).input("x", [1, 3, 8, 8])
    parts = [x.conv(4, 1).relu() for _ in range(3)]
    joined = parts[0].concat(*parts[1:])
    model = x.graph.model(joined.relu().conv(6), joined.conv(6))
    ends = {name: operands for name, operands in consumers(analyze(model)).items() if len(operands) == 3}
    kept = ([[0, 2], [], [0, 1, 3]], [[1, 2], [], [0, 1]])
    edges = {name: dict(zip(ends[name], units, strict=True)) for name, units in zip(ends, kept, strict=True)}
    check_edges(model, edges)
    lowered = rewrite(model, {"edges": edges}).model
    assert [len(node.input) for node in lowered.graph.node if node.op_type == "Concat"] == [2]
    assert sum(node.op_type == "Conv" for node in lowered.graph.node) == 4
    lost = [*next(iter(ends.values()))][1]
    assert lost not in {tensor.name for tensor in lowered.graph.initializer}


def test_a_shared_weight_is_zeroed_for_one_use_alone() -> None:
    x = Graph(opset=17).input("x", [1, 3, 8, 8])
    made = x.conv(8).relu()
    weight = x.graph.weight(8, 8, 3, 3, fan_in=72)
    model = x.graph.model(made.conv(8, weight=weight).relu().conv(8, weight=weight))
    edge = next(name for name in consumers(analyze(model)) if name.startswith(model.graph.output[0].name))
    check_edges(model, {edge: [0, 3]})


def test_groups_and_edges_at_once(moving_is_free: None) -> None:
    model = two_readers()
    first = names(model)[0]
    plan = {"format": 2, "groups": {"w_1": {"keep": [0, 1, 2, 3, 4, 5]}, "w_16": 4}, "edges": {first: [0, 1, 8]}}
    lowered = rewrite(model, plan)
    assert lowered.trace.groups == {"w_1": (16, 6), "w_16": (8, 4)}
    assert lowered.trace.unread == ()
    verdict = judge(model, lowered.model, trace=json.loads(json.dumps(lowered.trace.to_json())))
    assert verdict.agrees, verdict
    # Of what the consumer keeps nothing is left: it reads zeros.
    lowered = rewrite(model, {"groups": {"w_1": {"keep": [0, 1]}}, "edges": {first: [8, 9]}})
    assert judge(model, lowered.model, trace=lowered.trace).agrees
    # A width that the plan gives stays, though nobody reads all of it.
    assert rewrite(model, {"groups": {"w_1": 16}, "edges": {name: [0] for name in names(model)}}).trace.unread == ()
    with pytest.raises(PlanError, match="'w_1' can't grow while consumers read a part of it"):
        rewrite(model, {"groups": {"w_1": 32}, "edges": {first: [0]}})


def test_the_trace_file_alone_judges(moving_is_free: None) -> None:
    """The twin has the channels that nobody reads: had anybody read one, the models would differ."""
    model = two_readers()
    first, second = names(model)
    lowered = rewrite(model, {"edges": {first: [0, 5], second: [5, 7]}})
    told = json.loads(json.dumps(lowered.trace.to_json()))
    assert told["format"] == 2
    assert differences(zeroed(model, told), lowered.model)[0].error <= 1e-5
    told["edges"][first]["kept"] = [0, 6]
    assert differences(zeroed(model, told), lowered.model)[0].error > 1e-2


def test_fresh_weights_are_no_zeros() -> None:
    """Weights that are drawn anew would read what the edge doesn't keep: it is cut off, whatever that costs."""
    model = two_readers(out=1)
    second = names(model)[1]
    trace = rewrite(model, {"edges": {second: list(range(15))}}, transfer="init").trace
    assert trace.edges[second].how == "slice"


def test_a_norm_across_channels_is_left_and_named() -> None:
    x = Graph(opset=17).input("x", [1, 3, 8, 8])
    tokens = x.conv(16, 4, stride=4).reshape(0, 16, -1).transpose(0, 2, 1)
    norm = tokens.op("LayerNormalization", x.graph.vector(16, 0.5, 1.5), x.graph.vector(16), axis=-1)
    model = x.graph.model(norm.linear(64), tokens.linear(4))
    edge = next(name for name in consumers(analyze(model)) if "matmul" in name)
    trace = check_edges(model, {edge: [0, 1, 2, 3]})
    assert trace.edges[edge].how in ("slice", "dense")


@pytest.mark.parametrize(
    ("edges", "told"),
    [
        ({"nowhere:1": [0]}, "no consumer 'nowhere:1'"),
        ({"FIRST": [16]}, "group 'w_1' has units 0 to 15"),
        ({"FIRST": [True]}, "group 'w_1' has units 0 to 15"),
        ({"FIRST": {"w_2": [0]}}, "takes no channels of a group 'w_2'"),
        ({"FIRST": 3}, "give the kept units of each group: w_1"),
    ],
)
def test_what_is_no_edge_plan(edges: dict[str, object], told: str) -> None:
    model = two_readers()
    named = {name.replace("FIRST", names(model)[0]): wish for name, wish in edges.items()}
    with pytest.raises(PlanError, match=told):
        rewrite(model, {"edges": named})
    with pytest.raises(PlanError, match="and nothing else"):
        rewrite(model, {"format": 3, "edges": {}})


def test_an_order_for_sets() -> None:
    sets = [np.array([0, 2, 4]), np.array([4, 5, 7]), np.array([5])]
    order = consecutive(8, sets)
    places = [np.flatnonzero(np.isin(order, units)) for units in sets]
    assert sorted(order.tolist()) == list(range(8))
    assert all((np.diff(found) == 1).all() for found in places)


def test_what_is_lowered_trains_again(moving_is_free: None) -> None:
    torch = pytest.importorskip("torch")
    from chanc.backends.torch import build

    model = two_readers()
    first, second = names(model)
    lowered = rewrite(model, {"edges": {first: [0, 2, 4], second: [1, 2, 3]}}).model
    made = build(ir.from_proto(lowered))
    made.module(torch.rand(2, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in made.module.parameters())


def test_axes_that_are_open_stay_so(moving_is_free: None) -> None:
    x = Graph(opset=17).input("x", [1, 3, 8, 8], dynamic={0: "n", 2: "h", 3: "w"})
    made = x.conv(8).relu()
    parts = made.conv(8, 1), made.depthwise().conv(8, 1)
    model = x.graph.model((parts[0] + parts[1]).reshape(0, 8, -1).mean(2, keep=False))
    first, second = names(model)
    edges = {first: [0, 1, 5], second: [2, 3]}
    lowered = rewrite(model, {"edges": edges}, dims={"h": 8, "w": 8}, fold=False)
    assert lowered.trace.groups == {"w_1": (8, 5)}
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 3, 6, 10)).astype(np.float32)}
    whole = {name: {"w_1": units} for name, units in edges.items()}
    assert differences(zeroed_by_hand(model, whole), lowered.model, feeds=feeds)[0].error <= 1e-5


def test_a_cut_parts_a_gate_from_what_it_gates(moving_is_free: None) -> None:
    """Where outputs hardly depend on the inputs, groups are judged by themselves: of the part nobody can tell."""
    x = Graph(opset=17, seed=0).input("x", [1, 3, 8, 8], dynamic={0: "n"})
    made = x.conv(16).relu().depthwise()
    gate = made.gap().conv(4, 1).relu().conv(16, 1).sigmoid()
    ends = (made * gate).conv(8, 1).gap().flatten().gemm(4)
    model = x.graph.model(ends + x.graph.vector(4, 1e4, 2e4))
    squeeze, project, *_ = (name for name, operands in consumers(analyze(model)).items() if "w_1" in operands)
    lowered = rewrite(model, {"edges": {project: list(range(5))}})
    assert squeeze not in lowered.trace.edges
    parted = lowered.trace.groups.keys() - {group.id for group in analyze(model).groups}
    assert parted
    verdict = judge(model, lowered.model, trace=lowered.trace)
    assert verdict.agrees is None
    assert "edges have parted them from other groups" in str(verdict)
