"""The graph builder: shapes, weights, and models that onnxruntime runs as the builder says."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from chanc.backends import ort
from chanc.testing import blocks
from chanc.testing.graphs import IR_VERSION, Graph

OPEN = {0: "n"}


def _outputs(graph, *outputs):
    model = graph.model(*outputs)
    return ort.run(model, ort.random_feeds(model), exact=True)


def test_versions_and_names():
    graph = Graph(opset=13)
    model = graph.model(graph.input("x", [2, 3, 8, 8], dynamic=OPEN).conv(4).relu())
    assert model.ir_version == IR_VERSION == 10
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 13)]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)


def test_the_same_seed_gives_the_same_weights():
    def build(seed):
        graph = Graph(seed=seed)
        return graph.model(graph.input("x", [1, 3, 8, 8]).conv(4).bn())

    assert build(1) == build(1)
    assert build(1) != build(2)


def test_constants_can_be_nodes():
    graph = Graph(stored="constant")
    model = graph.model(graph.input("x", [1, 3, 8, 8]).conv(4, 1))
    assert [node.op_type for node in model.graph.node] == ["Constant", "Constant", "Conv"]
    assert not model.graph.initializer


def test_it_can_be_an_ir_model():
    graph = Graph()
    assert isinstance(graph.ir(graph.input("x", [1, 3]).gemm(2)), ir.Model)


def test_other_domains_take_given_shapes():
    graph = Graph()
    x = graph.input("x", [1, 3])
    (made,) = graph.node("Mine", [x], shapes=[(1, 5)], domain="com.example", alpha=2)
    assert made.shape == (1, 5)
    assert ("com.example", 1) in [(o.domain, o.version) for o in graph.model(made).opset_import]


@pytest.mark.parametrize("options", [
    {"kernel": 1}, {"kernel": 3}, {"kernel": (1, 3)}, {"kernel": 3, "stride": 2}, {"kernel": 3, "dilation": 2},
    {"groups": 2}, {"auto_pad": "SAME_UPPER", "stride": 2}, {"bias": False},
], ids=str)  # fmt: skip
def test_conv(options):
    graph = Graph()
    y = graph.input("x", [2, 4, 9, 9]).conv(6, **options)
    assert _outputs(graph, y)[0].shape == y.shape


SHAPES = {
    "conv1d": ([2, 4, 9], lambda x: x.conv(6)),
    "conv3d": ([2, 4, 5, 5, 5], lambda x: x.conv(6)),
    "transposed": ([2, 4, 5, 5], lambda x: x.conv_transpose(6)),
    "transposed groups": ([2, 4, 5, 5], lambda x: x.conv_transpose(6, groups=2, bias=False)),
    "depthwise": ([2, 4, 5, 5], lambda x: x.depthwise(multiplier=2)),
    "arithmetic": ([2, 4, 5, 5], lambda x: (x + x.relu()) * x.sigmoid() / (x * x + blocks.scalar(x, 1.0)) - x),
    "pool": ([2, 4, 8, 8], lambda x: x.pool().pool("AveragePool", 3, 1)),
    "head": ([2, 4, 8, 8], lambda x: x.gap().flatten().gemm(3).gemm(2, transposed=False, bias=False)),
    "linear": ([2, 4, 8], lambda x: x.linear(5).linear(3, bias=False)),
    "split": ([2, 5, 4, 4], lambda x: x.split(2, 3)[1]),
    "slices": ([2, 5, 4, 4], lambda x: x.slice(1, -1, -99, -2).gather([2, 0]).concat(x)),
    "reductions": ([2, 5, 4, 4], lambda x: x.mean(2, 3).squeeze(2, 3).unsqueeze(1).reduce("ReduceSum", 1, keep=False)),
    "squeeze excite": ([2, 6, 4, 4], lambda x: blocks.squeeze_excite(blocks.squeeze_excite(x, 2), 3, linear=True)),
    "shuffle": ([2, 6, 4, 4], lambda x: blocks.shuffle(blocks.shuffle(x, 2), 3, open_sizes=True)),
    "glu": ([2, 6, 4, 4], blocks.glu),
    "frozen": ([2, 6, 4, 4], blocks.frozen_bn),
    "instance norm": ([2, 6, 4, 4], blocks.instance_norm),
    "attention": ([2, 9, 6], lambda x: blocks.attention(blocks.attention(x, 2), 3, width=12, fused=False)),
    "mlp": ([2, 9, 6], lambda x: blocks.mlp(x, 11)),
    "tokens": ([2, 6, 4, 4], lambda x: blocks.image(blocks.tokens(x), 4, 4)),
    "lstm": ([2, 6, 4, 5], lambda x: blocks.lstm(x, 3, both=True)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_those_that_onnxruntime_finds(name):
    shape, build = SHAPES[name]
    graph = Graph()
    y = build(graph.input("x", shape))
    assert _outputs(graph, y)[0].shape == y.shape


def test_shuffle_is_a_permutation_of_channels():
    graph = Graph()
    model = graph.model(blocks.shuffle(graph.input("x", [1, 6, 1, 1]), 2))
    x = np.arange(6, dtype=np.float32).reshape(1, 6, 1, 1)
    assert ort.run(model, {"x": x})[0].ravel().tolist() == [0, 3, 1, 4, 2, 5]


def test_forms_of_a_norm_agree():
    """GroupNorm and LayerNorm in each form compute the same from the same weights (the seed makes them so)."""
    for forms in (("instance", "decomposed", "node"),):
        results = []
        for form in forms:
            graph = Graph(opset=21, seed=3)
            results.append(_outputs(graph, blocks.group_norm(graph.input("x", [2, 6, 4, 4]), 3, form))[0])
        for other in results[1:]:
            np.testing.assert_allclose(results[0], other, rtol=1e-4, atol=1e-5)
    layers = []
    for fused in (True, False):
        graph = Graph(seed=3)
        layers.append(_outputs(graph, blocks.layer_norm(graph.input("x", [2, 6]), fused=fused))[0])
    np.testing.assert_allclose(*layers, rtol=1e-4, atol=1e-5)


def test_a_graph_that_is_not_valid_is_refused():
    graph = Graph()
    x = graph.input("x", [1, 3, 8, 8])
    graph.nodes.append(onnx.helper.make_node("Relu", ["nowhere"], ["y"]))
    with pytest.raises(onnx.checker.ValidationError, match="nowhere"):
        graph.model(x.relu())
