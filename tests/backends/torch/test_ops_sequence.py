"""Recurrent cells, attention, control flow: against onnxruntime; what can't be written is refused by name."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def const(array):
    return ("const", np.asarray(array))


def r(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("op", "direction", "fixed"), list(itertools.product(GATES, ["forward", "reverse", "bidirectional"], [True, False]))
)
def test_recurrent(agrees, refused, op, direction, fixed):
    d, gates = (2 if direction == "bidirectional" else 1), GATES[op]
    wrap = const if fixed else (lambda array: array)
    x, w, u, b = (
        r(5, 3, 4),
        wrap(r(d, gates * 6, 4, seed=1)),
        wrap(r(d, gates * 6, 6, seed=2)),
        wrap(r(d, 2 * gates * 6, seed=3)),
    )
    attrs = {"hidden_size": 6, "direction": direction, "outs": 3 if op == "LSTM" else 2, "tolerance": 1e-5}
    if op == "RNN" and not fixed:
        assert "RNN node" in refused(op, x, w, u, b, hidden_size=6, direction=direction, outs=2)
        return
    extra = [r(d, 3, 6, seed=4), r(d, 3, 6, seed=5)][: 2 if op == "LSTM" else 1]
    agrees(op, x, w, u, b, **attrs)
    agrees(op, x, w, u, **attrs)
    agrees(op, x, w, u, b, None, *extra, **attrs)
    if op == "GRU":
        agrees(op, x, w, u, b, None, *extra, linear_before_reset=1, **attrs)
    if op == "RNN":
        agrees(op, x, w, u, b, activations=["Relu"] * d, **attrs)


def test_recurrent_weights_come_home():
    from chanc.backends.torch import build

    w, u, b = r(2, 24, 4, seed=1), r(2, 24, 6, seed=2), r(2, 48, seed=3)
    node = helper.make_node("LSTM", ["x", "w", "u", "b"], ["y"], hidden_size=6, direction="bidirectional")
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", 1, [5, 3, 4])],
        [helper.make_tensor_value_info("y", 1, [5, 2, 3, 6])],
        [numpy_helper.from_array(array, name) for array, name in ((w, "w"), (u, "u"), (b, "b"))],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = ir.serde.deserialize_model(proto)
    built = build(model)
    built.write_back(model)
    for name, array in (("w", w), ("u", u), ("b", b)):
        np.testing.assert_array_equal(model.graph.initializers[name].const_value.numpy(), array)
    import torch

    with torch.no_grad():
        for parameter in built.module.parameters():
            parameter.mul_(3)
    built.write_back(model)
    for name, array in (("w", w), ("u", u), ("b", b)):
        np.testing.assert_array_equal(model.graph.initializers[name].const_value.numpy(), array * np.float32(3))


@pytest.mark.parametrize(
    ("direction", "wrap"), list(itertools.product(["forward", "reverse", "bidirectional"], [const, np.asarray]))
)
def test_peepholes(agrees, direction, wrap):
    d = 2 if direction == "bidirectional" else 1
    w, u, b, p = (wrap(r(d, *shape, seed=k)) for k, shape in enumerate([(24, 4), (24, 6), (48,), (18,)]))
    given = {"hidden_size": 6, "direction": direction, "outs": 3, "tolerance": 1e-5}
    agrees("LSTM", r(5, 3, 4), w, u, b, None, None, None, p, **given)
    agrees("LSTM", r(5, 3, 4), w, u, b, None, r(d, 3, 6, seed=4), r(d, 3, 6, seed=5), p, **given)


@pytest.mark.parametrize(
    ("op", "direction", "wrap"),
    list(itertools.product(["LSTM", "GRU"], ["forward", "reverse", "bidirectional"], [const, np.asarray])),
)
def test_clipped_gates(agrees, op, direction, wrap):
    d, gates = 2 if direction == "bidirectional" else 1, GATES[op]
    shapes = [(gates * 6, 4), (gates * 6, 6), (2 * gates * 6,), (18,)]
    w, u, b, p = (wrap(r(d, *shape, seed=k)) for k, shape in enumerate(shapes))
    given = {"hidden_size": 6, "direction": direction, "clip": 0.3, "tolerance": 1e-5}
    if op == "GRU":
        for after in (0, 1):
            agrees(op, 2 * r(5, 3, 4), w, u, b, linear_before_reset=after, outs=2, **given)
        return
    agrees(op, 2 * r(5, 3, 4), w, u, b, outs=3, **given)
    agrees(op, 2 * r(5, 3, 4), w, u, b, None, r(d, 3, 6, seed=4), 3 * r(d, 3, 6, seed=5), p, outs=3, **given)


@pytest.mark.parametrize(
    ("direction", "wrap"), list(itertools.product(["forward", "reverse", "bidirectional"], [const, np.asarray]))
)
def test_coupled_gates(agrees, direction, wrap):
    d = 2 if direction == "bidirectional" else 1
    w, u, b, p = (wrap(r(d, *shape, seed=k)) for k, shape in enumerate([(24, 4), (24, 6), (48,), (18,)]))
    given = {"hidden_size": 6, "direction": direction, "input_forget": 1, "outs": 3, "tolerance": 1e-5}
    agrees("LSTM", r(5, 3, 4), w, u, b, **given)
    agrees("LSTM", r(5, 3, 4), w, u, b, None, r(d, 3, 6, seed=4), r(d, 3, 6, seed=5), p, **given)
    agrees("LSTM", 2 * r(5, 3, 4), w, u, b, clip=0.3, **given)


def test_lengths_are_refused(refused):
    w, u, b = const(r(1, 24, 4)), const(r(1, 24, 6)), const(r(1, 48))
    assert "different lengths" in refused("LSTM", r(5, 3, 4), w, u, b, const(np.int32([5, 4, 2])), hidden_size=6)
    w, u, b = const(r(1, 6, 4)), const(r(1, 6, 6)), const(r(1, 12))
    assert "it is clipped" in refused("RNN", r(5, 3, 4), w, u, b, hidden_size=6, clip=1.0)


def test_attention(agrees):
    q, k, v = r(2, 4, 5, 8), r(2, 4, 6, 8, seed=1), r(2, 4, 6, 8, seed=2)
    mask = np.random.default_rng(3).random((5, 6)) > 0.3
    mask[:, 0] = True
    options = {"opset": 23, "tolerance": 1e-5}
    assert "scaled_dot_product_attention" in agrees("Attention", q, k, v, **options).source
    agrees("Attention", q, k, v, mask, **options)
    agrees("Attention", q, k, v, r(2, 4, 5, 6), scale=0.3, **options)
    agrees("Attention", q, k, v, is_causal=1, **options)
    agrees("Attention", q, k[:, :2], v[:, :2], **options)
    agrees("Attention", r(2, 5, 32), r(2, 6, 32), r(2, 6, 32), q_num_heads=4, kv_num_heads=4, **options)
    agrees("Attention", q, k, v, None, r(2, 4, 3, 8), r(2, 4, 3, 8), outs=3, **options)


def branch(name: str, op: str) -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node(op, ["x"], [name])], name, [], [helper.make_empty_tensor_value_info(name)]
    )


def whole(nodes, outputs, initializers=(), opset=17) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [2, 3])],
        [helper.make_tensor_value_info(o, 1, None) for o in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(initializers).items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("which", [True, False])
def test_if_with_a_constant_condition(matches, which):
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("t", "Relu"), else_branch=branch("e", "Neg"))
    built = matches(whole([node], ["y"], {"c": np.array(which)}), {"x": r(2, 3)})
    assert ("relu" in built.source) == which


def either(then, other) -> onnx.ModelProto:
    """An If on whether the input's largest entry is above 2."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "two"], ["c"]),
        helper.make_node("If", ["c"], ["z"], then_branch=then, else_branch=other),
        helper.make_node("Neg", ["z"], ["y"]),
    ]
    return whole(nodes, ["y"], {"two": np.float32(2), "shape": np.int64([3, 2]), "w": r(2, 3), "open": np.int64([-1])})


def joined(name: str) -> onnx.GraphProto:
    nodes = [helper.make_node("Mul", ["x", "w"], ["p"]), helper.make_node("Concat", ["p", "x"], [name], axis=0)]
    return helper.make_graph(nodes, name, [], [helper.make_empty_tensor_value_info(name)])


@pytest.mark.parametrize("largest", [1.0, 3.0])
def test_if_that_depends_on_the_input(matches, largest):
    """The branches have results of different sizes, so that only one of them can be right."""
    x = np.minimum(r(2, 3), 1)
    x[1, 2] = largest
    built = matches(either(branch("t", "Relu"), joined("e")), {"x": x})
    assert " if chosen else " in built.source
    matches(either(joined("t"), branch("e", "Sigmoid")), {"x": x})


def test_an_if_within_an_if(matches):
    inner = helper.make_node("If", ["c"], ["i"], then_branch=branch("a", "Relu"), else_branch=branch("b", "Neg"))
    outer = helper.make_graph([inner], "t", [], [helper.make_empty_tensor_value_info("i")])
    for largest in (1.0, 3.0):
        matches(either(outer, branch("e", "Exp")), {"x": np.float32([[0, 0, largest], [0, -1, 0]])}, 1e-5)


def test_branches_that_fail_or_learn_are_refused(matches):
    from chanc.errors import ModelError

    gather = helper.make_node("NonZero", ["x"], ["n"]), helper.make_node("GatherND", ["x", "n"], ["t"])
    fails = helper.make_graph(list(gather), "t", [], [helper.make_empty_tensor_value_info("t")])
    with pytest.raises(ModelError, match="a branch has GatherND of open sizes"):
        matches(either(fails, branch("e", "Relu")), {"x": r(2, 3)})
    norm = helper.make_node("BatchNormalization", ["x", *"wwww"], ["t"])
    learns = helper.make_graph([norm], "t", [], [helper.make_empty_tensor_value_info("t")])
    with pytest.raises(ModelError, match="running statistics"):
        matches(either(learns, branch("e", "Relu")), {"x": r(2, 3)})


def test_loop_with_a_constant_count(matches):
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["a", "f"], ["b"]),
            helper.make_node("Mul", ["b", "w"], ["carry"]),
            helper.make_node("Relu", ["carry"], ["scan"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", 7, []),
            helper.make_tensor_value_info("go", 9, []),
            helper.make_tensor_value_info("a", 1, [2, 3]),
        ],
        [helper.make_tensor_value_info(n, t, None) for n, t in (("go_on", 9), ("carry", 1), ("scan", 1))],
    )
    node = helper.make_node("Loop", ["n", "", "x"], ["y", "s"], body=body)
    matches(whole([node], ["y", "s"], {"n": np.int64(3), "w": r(3)}), {"x": r(2, 3)}, 1e-5)


def test_unknown_operators_are_refused_by_name(refused):
    message = refused("Frobnicate", r(2, 3), domain="my.domain")
    assert "my.domain::Frobnicate node 'out0'" in message
    assert "\n" not in message


def test_shape_chains_of_free_sizes(matches):
    """The channel shuffle as TorchScript writes it, every size read from the input."""
    nodes = [helper.make_node("Shape", ["x"], ["s"])]
    for axis in range(2):
        nodes.append(helper.make_node("Gather", ["s", f"k{axis}"], [f"d{axis}"], axis=0))
        nodes.append(helper.make_node("Unsqueeze", [f"d{axis}", "zero"], [f"u{axis}"]))
    nodes += [
        helper.make_node("Div", ["u1", "three"], ["q"]),
        helper.make_node("Concat", ["u0", "three", "q"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["r"]),
        helper.make_node("Transpose", ["r"], ["p"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["u0", "minus"], ["back"], axis=0),
        helper.make_node("Reshape", ["p", "back"], ["y"]),
    ]
    values = {
        "k0": np.int64(0),
        "k1": np.int64(1),
        "zero": np.int64([0]),
        "three": np.int64([3]),
        "minus": np.int64([-1]),
    }
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", "c"])], [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in values.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    built = matches(model, {"x": r(4, 12)})
    assert "torch.tensor" not in built.source


@pytest.mark.parametrize(("backward", "axis"), list(itertools.product([0, 1], [0, 1])))
def test_scan(matches, backward, axis):
    """A running sum over the slices of an axis, and its product with a weight as an entry a turn."""
    size = 3 if axis else 2
    body = helper.make_graph(
        [
            helper.make_node("Add", ["s", "t"], ["sum"]),
            helper.make_node("Mul", ["sum", "w"], ["p"]),
            helper.make_node("Identity", ["sum"], ["carry"]),
        ],
        "body",
        [helper.make_tensor_value_info(name, 1, [5 - size]) for name in ("s", "t")],
        [helper.make_tensor_value_info(name, 1, [5 - size]) for name in ("carry", "p")],
    )
    node = helper.make_node(
        "Scan", ["zero", "x"], ["last", "y"], body=body, num_scan_inputs=1, scan_input_axes=[axis],
        scan_input_directions=[backward], scan_output_axes=[1 - axis], scan_output_directions=[1 - backward],
    )  # fmt: skip
    weights = {"zero": np.zeros(5 - size, np.float32), "w": r(5 - size, seed=1)}
    matches(whole([node], ["last", "y"], weights), {"x": r(2, 3)})


def test_scan_without_states_over_two_inputs(matches):
    body = helper.make_graph(
        [helper.make_node("Mul", ["a", "b"], ["p"])], "body",
        [helper.make_tensor_value_info("a", 1, [3]), helper.make_tensor_value_info("b", 1, [])],
        [helper.make_tensor_value_info("p", 1, [3])],
    )  # fmt: skip
    node = helper.make_node("Scan", ["x", "v"], ["y"], body=body, num_scan_inputs=2)
    matches(whole([node], ["y"], {"v": r(2, seed=1)}), {"x": r(2, 3)})


SPLIT = [helper.make_node("SplitToSequence", ["x"], ["s"], axis=1)]


@pytest.mark.parametrize(
    "nodes",
    [
        [*SPLIT, helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)],
        [*SPLIT, helper.make_node("SequenceAt", ["s", "one"], ["y"])],
        [*SPLIT, helper.make_node("SequenceAt", ["s", "last"], ["y"])],
        [*SPLIT, helper.make_node("SequenceLength", ["s"], ["y"])],
        [
            helper.make_node("SplitToSequence", ["x", "sizes"], ["s"], axis=1),
            helper.make_node("SequenceAt", ["s", "last"], ["y"]),
        ],
        [
            helper.make_node("SplitToSequence", ["x", "two"], ["s"], axis=1),
            helper.make_node("SequenceAt", ["s", "last"], ["y"]),
        ],
        [
            helper.make_node("SplitToSequence", ["x"], ["s"], axis=1, keepdims=0),
            helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0, new_axis=1),
        ],
        *(
            [
                helper.make_node("Neg", ["x"], ["n"]),
                helper.make_node("SequenceConstruct", ["x", "n"], ["s"]),
                helper.make_node("Relu", ["x"], ["z"]),
                helper.make_node("SequenceInsert", ["s", "z", *where], ["t"]),
                helper.make_node("ConcatFromSequence", ["t"], ["y"], axis=0),
            ]
            for where in ([], ["one"], ["last"])
        ),
        *(
            [
                *SPLIT,
                helper.make_node("SequenceErase", ["s", *where], ["t"]),
                helper.make_node("ConcatFromSequence", ["t"], ["y"], axis=1),
            ]
            for where in ([], ["one"], ["last"])
        ),
        [
            helper.make_node("SequenceEmpty", [], ["e"]),
            helper.make_node("SequenceInsert", ["e", "x"], ["s"]),
            helper.make_node("SequenceAt", ["s", "last"], ["y"]),
        ],
    ],
)
def test_sequences(matches, nodes):
    weights = {"one": np.int64(1), "two": np.int64(2), "last": np.int64(-1), "sizes": np.int64([1, 2])}
    model = whole(nodes, [], weights)
    model.graph.output.append(helper.make_empty_tensor_value_info("y"))
    matches(onnx.shape_inference.infer_shapes(model), {"x": r(2, 3)})


def running(length: object, *, backward: int = 0, axis: int = 0) -> onnx.ModelProto:
    """A recurrent cell over an axis: h = tanh(x W + h R) + sum(x) v, and a gate of the whole input."""
    nodes = [
        helper.make_node("MatMul", ["t", "cell.w"], ["a"]),
        helper.make_node("MatMul", ["h", "cell.r"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Tanh", ["c"], ["d"]),
        helper.make_node("Mul", ["d", "gate"], ["e"]),
        helper.make_node("Add", ["e", "v"], ["next"]),
        helper.make_node("Identity", ["next"], ["step"]),
    ]
    body = helper.make_graph(
        nodes, "body",
        [helper.make_tensor_value_info("h", 1, [2, 4]), helper.make_tensor_value_info("t", 1, [2, 3])],
        [helper.make_tensor_value_info("next", 1, [2, 4]), helper.make_tensor_value_info("step", 1, [2, 4])],
    )  # fmt: skip
    outer = [
        helper.make_node("ReduceMean", ["x"], ["m"], keepdims=0),
        helper.make_node("Sigmoid", ["m"], ["gate"]),
        helper.make_node("Scan", ["zero", "x"], ["last", "y"], body=body, num_scan_inputs=1, scan_input_axes=[axis],
                         scan_input_directions=[backward], scan_output_axes=[axis], scan_output_directions=[backward]),
        helper.make_node("MatMul", ["last", "cell.r"], ["z"]),
        helper.make_node("Mul", ["z", "v"], ["u"]),
    ]  # fmt: skip
    weights = {"cell.w": r(3, 4), "cell.r": r(4, 4, seed=1) / 2, "v": r(4, seed=2), "zero": np.zeros((2, 4), "f4")}
    shape = [length, 2, 3] if axis == 0 else [2, length, 3]
    graph = helper.make_graph(
        outer, "g", [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info(name, 1, None) for name in ("last", "y", "u")],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("length", "axis", "backward"), list(itertools.product([150, "length"], [0, 1], [0, 1]))
)
def test_a_long_scan_is_a_loop(matches, length, axis, backward):
    """Its body is a module; a matrix that the network reads as well is one parameter."""
    x = r(150, 2, 3) if axis == 0 else r(2, 150, 3)
    built = matches(running(length, backward=backward, axis=axis), {"x": x}, 1e-5)
    assert "scan(self.scan1" in built.source
    assert len(built.source.splitlines()) < 80
    assert len(list(built.module.parameters())) == 4, "a first state among them"


def test_weights_of_a_long_scan_train_and_come_home():
    import torch

    from chanc.backends.torch import build

    model = ir.serde.deserialize_model(running("length"))
    built = build(model)
    built.module.train()
    built.module(torch.from_numpy(r(140, 2, 3)))[1].square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in built.module.parameters())
    with torch.no_grad():
        for parameter in built.module.parameters():
            parameter.mul_(3)
    before = {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}
    built.write_back(model)
    for name in ("cell.w", "cell.r", "v"):
        np.testing.assert_array_equal(model.graph.initializers[name].const_value.numpy(), 3 * before[name])


def test_a_scan_in_a_scan(matches):
    """Sums over both axes of a picture, as long as the picture is."""
    inner = helper.make_graph(
        [helper.make_node("Add", ["s", "p"], ["s2"]), helper.make_node("Mul", ["s2", "v"], ["q"])], "inner",
        [helper.make_tensor_value_info(name, 1, []) for name in ("s", "p")],
        [helper.make_tensor_value_info("s2", 1, []), helper.make_tensor_value_info("q", 1, [])],
    )  # fmt: skip
    rows = helper.make_graph(
        [helper.make_node("Scan", ["zero", "row"], ["total", "sums"], body=inner, num_scan_inputs=1)], "rows",
        [helper.make_tensor_value_info("row", 1, ["w"])],
        [helper.make_tensor_value_info("total", 1, []), helper.make_tensor_value_info("sums", 1, ["w"])],
    )  # fmt: skip
    node = helper.make_node("Scan", ["x"], ["totals", "y"], body=rows, num_scan_inputs=1)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", 1, ["h", "w"])],
        [helper.make_tensor_value_info(name, 1, None) for name in ("totals", "y")],
        [numpy_helper.from_array(np.float32(0), "zero"), numpy_helper.from_array(np.float32(0.5), "v")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    matches(model, {"x": r(5, 7)}, 1e-5)


def collatz(count: bool, condition: bool) -> onnx.ModelProto:
    """As many turns as the input says: x is doubled until its sum is above a limit, and each one is kept."""
    nodes = [
        helper.make_node("Mul", ["a", "two"], ["next"]),
        helper.make_node("ReduceMax", ["next"], ["most"], keepdims=0),
        helper.make_node(*(("Less", ["most", "limit"], ["on"]) if condition else ("Identity", ["go"], ["on"]))),
        helper.make_node("Cast", ["i"], ["f"], to=1),
        helper.make_node("Add", ["next", "f"], ["kept"]),
    ]
    body = helper.make_graph(
        nodes, "body",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("go", 9, []),
         helper.make_tensor_value_info("a", 1, [2, 3])],
        [helper.make_tensor_value_info("on", 9, []), helper.make_tensor_value_info("next", 1, [2, 3]),
         helper.make_tensor_value_info("kept", 1, [2, 3])],
    )  # fmt: skip
    outer = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Abs", ["s"], ["b"]),
        helper.make_node("Cast", ["b"], ["n"], to=7),
        helper.make_node("Add", ["n", "one"], ["count"]),
        helper.make_node("Loop", ["count" if count else "", "", "x"], ["y", "all"], body=body),
    ]
    return whole(outer, ["y", "all"], {"two": np.float32(2), "limit": np.float32(40), "one": np.int64(1)})


@pytest.mark.parametrize(("count", "condition"), [(True, False), (True, True), (False, True)])
def test_a_loop_that_the_input_decides(matches, count, condition):
    for seed in range(3):
        built = matches(collatz(count, condition), {"x": np.abs(r(2, 3, seed=seed)) + np.float32(0.5)}, 1e-5)
    assert "loop(self.loop1" in built.source


def test_a_list_that_grows(matches):
    """A sequence as a state, which a Loop of as many turns as rows fills."""
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "i"], ["row"]),
            helper.make_node("SequenceInsert", ["s", "row"], ["more"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("go", 9, []),
         helper.make_tensor_sequence_value_info("s", 1, None)],
        [helper.make_tensor_value_info("on", 9, []), helper.make_tensor_sequence_value_info("more", 1, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "zero"], ["rows"]),
        helper.make_node("SequenceEmpty", [], ["none"]),
        helper.make_node("Loop", ["rows", "", "none"], ["filled"], body=body),
        helper.make_node("ConcatFromSequence", ["filled"], ["y"], axis=0, new_axis=1),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["h", 3])], [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.int64(0), "zero")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    matches(model, {"x": r(5, 3)})
