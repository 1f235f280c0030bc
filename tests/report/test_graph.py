from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from chanc.report.graph import build_network


def side(segments, groups):
    return [(groups[s.group].id if s.group >= 0 else None, s.channels) for s in segments]


def vertex(network, label):
    return next(v for v in network.vertices if v.label == label)


def analysis_of(runs, nodes, weights, groups=(), pinned=(), outputs=("y",)):
    tensors = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, np.zeros(shape, np.float32).tobytes(), raw=True)
        for name, shape in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        tensors,
    )
    return runs.Analysis(ir.from_proto(helper.make_model(graph)), tuple(groups), tuple(pinned))


def test_a_layer_has_its_groups_on_both_sides(runs):
    analysis = runs.resnet(8)
    network = build_network(analysis)
    first, shortcut = vertex(network, "layer2.2.conv1"), vertex(network, "layer2.2.shortcut")
    assert side(first.inside, analysis.groups) == [("stem.weight", 16)]
    assert side(first.outside, analysis.groups) == [("layer2.2.conv1.weight", 32)]
    assert first.detail == "3×3"
    assert shortcut.detail == "1×1"
    stem = vertex(network, "stem")
    assert side(stem.inside, analysis.groups) == [(None, 3)]
    assert stem.inside[0].reason == "in no channel group"


def test_what_has_one_source_is_merged_and_joins_stay(runs):
    network = build_network(runs.resnet(8))
    kinds = [v.op for v in network.vertices]
    assert kinds.count("Add") == 8
    assert not {"BatchNormalization", "Relu", "Flatten"} & set(kinds)
    assert vertex(network, "stem").after == ["BatchNormalization", "Relu"]
    assert len(network.vertices) == 1 + 1 + 8 * 3 + 3 + 1 + 1
    # a block's add is read from its second convolution and from the block before, or the shortcut
    add = next(i for i, v in enumerate(network.vertices) if v.op == "Add")
    assert {network.vertices[s].label for s, t in network.edges if t == add} == {"stem", "layer1.0.conv2"}


def test_a_concat_reads_as_segments(runs):
    analysis = runs.cells(3, branches=3)
    network = build_network(analysis)
    layer = vertex(network, "cells.1.branch0")
    assert side(layer.inside, analysis.groups) == [(f"cells.0.branch{b}.weight", 16 + 8 * b) for b in range(3)]
    concat = next(v for v in network.vertices if v.op == "Concat")
    assert concat.outside == layer.inside


def test_gemm_matmul_transposed_and_grouped_convolutions(runs):
    nodes = [
        helper.make_node("Conv", ["x", "grouped"], ["a"], group=4),
        helper.make_node("Conv", ["a", "depthwise"], ["b"], group=8),
        helper.make_node("ConvTranspose", ["b", "up"], ["c"], group=2),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "matmul"], ["e"]),
        helper.make_node("Gemm", ["e", "plain"], ["f"]),
        helper.make_node("Gemm", ["f", "transposed"], ["y"], transB=1),
    ]
    weights = {
        "grouped": (8, 3, 3, 3), "depthwise": (8, 1, 3, 3), "up": (8, 5, 2, 2),
        "matmul": (10, 6), "plain": (6, 4), "transposed": (2, 4),
    }  # fmt: skip
    network = build_network(analysis_of(runs, nodes, weights))
    widths = {
        v.label: (sum(s.channels for s in v.inside), sum(s.channels for s in v.outside))
        for v in network.vertices
        if v.kind == "layer"
    }
    assert widths.pop("depthwise") == (8, 8)
    assert widths == {"grouped": (12, 8), "up": (8, 10), "matmul": (10, 6), "plain": (6, 4), "transposed": (4, 2)}


def test_pinned_operators_stay_and_say_why(runs):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Strange", ["a"], ["b"], domain="com.example"),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    pinned = [runs.Pinned("a", "b", "Strange", "Strange is not understood")]
    network = build_network(analysis_of(runs, nodes, {"w": (4, 3, 1, 1)}, pinned=pinned))
    strange = next(v for v in network.vertices if v.op == "Strange")
    assert strange.pinned == "Strange is not understood"
    assert strange.after == ["Relu"]
    assert vertex(network, "w").outside[0].reason == "Strange is not understood"


def test_a_group_that_cannot_change_gives_its_reason(runs):
    operand = runs.Operand("y", "Conv", 1, "w", 0, "producer", np.arange(4)[:, None])
    group = runs.Group("w", 4, resizable=False, reason="graph output", operands=(operand,))
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    network = build_network(analysis_of(runs, nodes, {"w": (4, 3, 1, 1)}, [group]))
    assert [(s.group, s.channels, s.reason) for s in vertex(network, "w").outside] == [(0, 4, "graph output")]


def test_interleaved_groups_are_gathered(runs):
    def operand(start):
        return runs.Operand("y", "Conv", 1, "w", 1, "consumer", np.arange(start, 200, 2)[:, None])

    groups = [runs.Group(name, 100, operands=(operand(start),)) for start, name in enumerate("ab")]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    network = build_network(analysis_of(runs, nodes, {"w": (4, 200, 1, 1)}, groups))
    assert side(vertex(network, "w").inside, groups) == [("a", 100), ("b", 100)]


@pytest.mark.parametrize("branch", ["then_branch", "else_branch"])
def test_values_captured_by_control_flow_are_sources(runs, branch):
    def body(reads):
        output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node("Relu", [reads], ["inner"])], "body", [], [output])

    branches = {name: body("a" if name == branch else "x") for name in ("then_branch", "else_branch")}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("If", ["condition"], ["y"], **branches),
    ]
    network = build_network(analysis_of(runs, nodes, {"w": (4, 3, 1, 1), "condition": (1,)}))
    number = next(i for i, v in enumerate(network.vertices) if v.op == "If")
    assert "w" in {network.vertices[s].label for s, t in network.edges if t == number}
