"""What networks in the manner of well-known ones found: each case is the smallest graph of its kind."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from chanc.analysis import analyze
from chanc.ir.normalize import normalize
from chanc.oracles import check_shrink, check_widen, differences
from chanc.rewriter import rewrite
from chanc.testing.graphs import Graph


def _image(graph, channels=3, size=8):
    return graph.input("image", [2, channels, size, size], dynamic={0: "n"})


def _tokens(graph, width=12):
    return graph.input("image", [2, 3, 4, 4]).conv(width).reshape(2, width, 16).transpose(0, 2, 1)


def _sizes(model):
    return sorted(group.size for group in analyze(model).groups if group.resizable)


def _reasons(model):
    return {group.reason for group in analyze(model).groups if not group.resizable}


def test_one_tensor_split_into_the_weights_of_two_layers(check):
    graph = Graph()
    x = _tokens(graph)
    one, two = graph.weight(24, 12, fan_in=12).split(8, 16, axis=0)
    y = x.op("MatMul", one.transpose(1, 0)).relu().concat(x.op("MatMul", two.transpose(1, 0)), axis=2)
    model = graph.model(y.linear(5))
    assert _sizes(model) == [8, 12, 16]
    check(model)


def test_of_a_product_of_constants_one_is_divided(check):
    """Learned queries meet the weight that takes activations elsewhere: widened, that weight alone is divided."""
    graph = Graph()
    x = _tokens(graph)
    weight = graph.weight(12, 6, fan_in=12)
    queries = graph.weight(2, 16, 12, fan_in=4)
    model = graph.model((queries.op("MatMul", weight).relu() + (x + queries).op("MatMul", weight)).linear(5))
    assert _sizes(model) == [6, 12]
    check(model)


def test_weights_squared_by_a_product_with_themselves_do_not_grow():
    graph = Graph()
    weight = graph.weight(6, 8, fan_in=8)
    x = graph.input("x", [2, 6]).op("MatMul", weight).relu().op("MatMul", weight.transpose(1, 0).op("MatMul", weight))
    group = next(group for group in analyze(graph.model(x.gemm(3))).groups if group.size == 8)
    assert not group.resizable or not group.scalable


def test_numbers_that_are_folded_stay_without_an_axis():
    graph = Graph()
    scale = graph.constant(np.float32(16)).op("Pow", graph.constant(np.float32(-0.5)))
    assert scale.shape == ()
    model = graph.model((_image(graph).conv(6) * scale).conv(4, 1))
    check_shrink(model)
    check_widen(model)


@pytest.mark.parametrize("training", [0, 1])
def test_batch_normalisation_with_the_statistics_of_the_data(training):
    """Over the second axis of [n, tokens, channels]: with the batch's own statistics channels depend on each other."""
    graph = Graph()
    x = _tokens(graph)
    made = [graph.vector(16, *span) for span in ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 1.5))]
    y = graph.node("BatchNormalization", [x, *made], outputs=3 if training else 1, training_mode=training)[0]
    found = next(group for group in analyze(graph.model(y.linear(5))).groups if group.size == 12)
    assert found.resizable
    assert found.exact == (not training)


def _gru(graph, x, hidden, *states):
    inner = x.shape[2]
    weights = [graph.weight(1, 3 * hidden, n, fan_in=n) for n in (inner, hidden)]
    bias = graph.vector(6 * hidden, shape=[1, 6 * hidden])
    made = [x, *weights, bias, None, *states]
    shapes = [(x.shape[0], 1, x.shape[1], hidden), (1, x.shape[1], hidden)]
    return graph.node("GRU", made, outputs=2, shapes=shapes, hidden_size=hidden)


def test_a_node_whose_first_output_nobody_reads_is_called_by_it():
    graph = Graph()
    x = _tokens(graph).transpose(1, 0, 2)
    whole, last = _gru(graph, x, 8)
    x.op("Shape")
    scale = graph.constant(np.float32(4)).op("Sqrt")
    model = graph.model((last * scale).squeeze(0).gemm(3))
    trace = check_shrink(model)
    assert whole.name in {operand.node for operand in trace.operands}


@pytest.mark.parametrize("made", ["ConstantOfShape", "Expand"])
def test_states_of_zeros_stay_or_go_with_the_layer(made, check):
    graph = Graph()
    x = _tokens(graph).transpose(1, 0, 2)
    shape = graph.integers([1]).concat(x.dim(1), graph.integers([8]), axis=0)
    if made == "Expand":
        zeros = graph.node("Expand", [graph.constant(np.zeros((1, 1, 8), np.float32)), shape], shapes=[(1, 2, 8)])[0]
    else:
        zeros = graph.node("ConstantOfShape", [shape], shapes=[(1, 2, 8)])[0]
    model = graph.model(_gru(graph, x, 8, zeros)[1].squeeze(0).gemm(3))
    check(model)
    assert any(group.resizable and group.step == 3 for group in analyze(model).groups)


def test_gates_of_two_directions_put_in_order_by_nodes(check):
    """Weights that are joined play one role: the second direction's are divided as the first's are."""
    graph, hidden, weights = Graph(), 4, []
    x = _tokens(graph).transpose(1, 0, 2)
    for shape in ((12, 12), (12, hidden), (24,)):
        two = []
        for _ in range(2):
            whole = graph.weight(*shape, fan_in=8)
            gates = [whole.slice(0, k, k + hidden) for k in range(0, shape[0], hidden)]
            order = [1, 0, 2, 4, 3, 5][: len(gates)]
            two.append(gates[order[0]].concat(*[gates[k] for k in order[1:]], axis=0).unsqueeze(0))
        weights.append(two[0].concat(two[1], axis=0))
    shapes = [(16, 2, 2, hidden)]
    y = graph.node("GRU", [x, *weights], shapes=shapes, hidden_size=hidden, direction="bidirectional")[0]
    model = graph.model(y.transpose(0, 2, 1, 3).reshape(16, 2, 2 * hidden).linear(3))
    assert _sizes(model) == [12, 12]
    check(model)


def test_a_product_with_itself_divided_by_something_of_its_size(check):
    """Twice the channels are four times the entries of x x': what meets both its sides can't follow."""
    graph = Graph()
    x = graph.input("image", [2, 3, 8, 8]).conv(6).reshape(2, 6, 64)
    y = x.op("MatMul", x.transpose(0, 2, 1)).reshape(2, 36)
    norm = graph.node("Expand", [y.op("ReduceL2", axes=[1]), y.op("Shape")], shapes=[(2, 36)])[0]
    model = graph.model((y / norm).gemm(3))
    assert "its rows and its columns meet channels of their own" in " ".join(_reasons(model))
    check(model)


def test_scales_joined_from_constants(check):
    graph = Graph()
    x = _image(graph).conv(6).relu()
    scales = graph.constant(np.ones(2, np.float32)).concat(graph.constant(np.full(2, 2, np.float32)), axis=0)
    y = graph.node("Resize", [x, None, scales], shapes=[(2, 6, 16, 16)], mode="nearest")[0]
    model = graph.model(y.conv(4, 1))
    assert _sizes(model) == [6]
    check(model)


def test_a_bias_of_zeros_expanded_in_the_graph(check):
    graph = Graph()
    x = _image(graph)
    weight = graph.weight(6, 3, 3, 3, fan_in=27)
    zero = graph.constant(np.float32(0)).op("CastLike", x)
    bias = graph.node("Expand", [zero, weight.op("Shape", end=1)], shapes=[(6,)])[0]
    model = graph.model(x.op("Conv", weight, bias).bn().relu().conv(4, 1))
    assert _sizes(model) == [6]
    check(model)


@pytest.mark.parametrize("opset", [11, 17])
def test_sequences_that_are_taken_apart_again(opset, check):
    graph = Graph(opset=opset)
    x = _image(graph).conv(12)
    parts = graph.node("SplitToSequence", [x, graph.integers([6, 6])], shapes=[()], axis=1)[0]
    one = graph.node("SequenceAt", [parts, graph.constant(np.int64(0))], shapes=[(2, 6, 8, 8)])[0]
    two = graph.node("SequenceAt", [parts, graph.constant(np.int64(-1))], shapes=[(2, 6, 8, 8)])[0]
    both = graph.node("SequenceConstruct", [one.conv(5), two.relu().conv(5)], shapes=[()])[0]
    stacked = graph.node("ConcatFromSequence", [both], shapes=[(2, 2, 5, 8, 8)], axis=1, new_axis=1)[0]
    model = graph.model(stacked.mean(1, keep=False).conv(3, 1))
    loaded = graph.ir(stacked)
    normalize(loaded)
    assert not any("Sequence" in node.op_type for node in loaded.graph)
    assert _sizes(model) == [5, 6, 6]
    check(model)


def _half(model):
    """All weights, inputs and outputs in half precision."""
    twin = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in twin.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in (*twin.graph.input, *twin.graph.output, *twin.graph.value_info):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    return twin


def test_half_precision_is_compared_without_its_rounding():
    graph = Graph()
    model = _half(graph.model(_image(graph).conv(64).relu().conv(64).relu().conv(4, 1)))
    result = rewrite(model, scale=1.5, transfer="widen")
    assert max(found.error for found in differences(model, result.model)) < 1e-6
    assert result.model.graph.initializer[0].data_type == onnx.TensorProto.FLOAT16


def test_functions_are_verified_by_what_they_are_made_of():
    graph = Graph()
    x = _image(graph).conv(6)
    weight = graph.weight(8, 6, 3, 3, fan_in=54)
    y = graph.node("Block", [x, weight], shapes=[(2, 8, 6, 6)], domain="own")[0].conv(3, 1)
    nodes = [onnx.helper.make_node("Conv", ["a", "w"], ["c"]), onnx.helper.make_node("Relu", ["c"], ["o"])]
    opsets = [onnx.helper.make_opsetid("", 17)]
    values = [onnx.helper.make_tensor_value_info(y.name, onnx.TensorProto.FLOAT, [None] * 4)]
    made = onnx.helper.make_graph(graph.nodes, "g", graph.inputs, values, list(graph.weights.values()))
    function = onnx.helper.make_function("own", "Block", ["a", "w"], ["o"], nodes, opsets)
    model = onnx.helper.make_model(
        made, opset_imports=[*opsets, onnx.helper.make_opsetid("own", 1)], functions=[function], ir_version=10
    )
    check_shrink(model)
    check_widen(model)


@pytest.mark.parametrize("curve", ["Softplus", "Tanh", "Abs"])
def test_weights_that_pass_a_curve_can_be_cut_but_not_divided(curve, check):
    graph = Graph()
    x = _image(graph).conv(6).relu()
    model = graph.model(x.op("Conv", graph.weight(8, 6, 3, 3, fan_in=54).op(curve)).relu().conv(3, 1))
    computed = analyze(model, fold=False)
    found = {group.size: group for group in computed.groups if group.resizable}
    assert [found[n].exact for n in (6, 8)] == [True, True]
    assert found[8].scalable
    assert found[6].scalable == (curve == "Abs")
    folded = analyze(model)
    assert bool(folded.folded) == (curve != "Abs")
    assert all(group.exact and group.scalable for group in folded.groups if group.resizable)
    check(model)


def test_a_local_response_norm_written_as_a_pooling_over_channels(check):
    graph = Graph()
    x = _image(graph).conv(6).relu()
    squares = (x * x).unsqueeze(1).op("Pad", graph.integers([0, 0, 2, 0, 0, 0, 0, 2, 0, 0]))
    mean = squares.op("AveragePool", kernel_shape=[5, 1, 1], strides=[1, 1, 1]).squeeze(1)
    model = graph.model((x / (mean + graph.constant(np.float32(1)))).conv(4, 1))
    (found,) = [group for group in analyze(model).groups if group.resizable]
    assert (found.size, found.exact) == (6, False)
    check(model)


def test_channels_in_the_margin_of_a_window_stay(check):
    graph = Graph()
    x = _image(graph).conv(6).unsqueeze(1).op("MaxPool", kernel_shape=[3, 1, 1], strides=[1, 1, 1]).squeeze(1)
    model = graph.model(x.conv(4, 1))
    assert any("margin" in reason for reason in _reasons(model))
    check(model)
