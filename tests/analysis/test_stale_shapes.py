"""Shapes that a file declares of inner tensors may be stale or wrong: onnxruntime runs such files all the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as nh
import pytest

from chanc.analysis import analyze
from chanc.backends import ort
from chanc.ir import check, load
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import rewrite
from chanc.testing.builders import build

WEIGHTS = {"w": (6, 3, 3, 3), "v": (4, 6, 1, 1)}
BODY = """
    a = Conv<pads=[1, 1, 1, 1]>(x, w)
    r = Relu(a)
    p = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(r)
    y = Conv(p, v)
"""


def net() -> onnx.ModelProto:
    return build("float[N,3,8,8] x", "float y", BODY, WEIGHTS)


def _info(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return oh.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


STALE: dict[str, Callable[[onnx.ModelProto], object]] = {
    "another width": lambda p: p.graph.value_info.append(_info("a", ["N", 8, 8, 8])),
    "another rank": lambda p: p.graph.value_info.append(_info("r", ["N", 6])),
    "another size": lambda p: p.graph.value_info.append(_info("p", [7, 6, 2, 2])),
    "the output": lambda p: p.graph.output[0].CopyFrom(_info("y", ["N", 9, 1, 1])),
}


@pytest.mark.parametrize("name", STALE)
def test_they_are_inferred_anew(name: str) -> None:
    proto, right = net(), analyze(net())
    STALE[name](proto)
    check(load(proto))
    found = analyze(proto)
    assert (found.params, found.macs, found.macs_all) == (right.params, right.macs, right.macs_all)
    assert [g.id for g in found.groups if g.resizable] == ["w"]
    assert check_shrink(proto).operands
    assert check_widen(proto).operands
    small = rewrite(proto, scale=0.5).model
    check(load(small))
    assert ort.run(small, ort.random_feeds(small))[0].shape[1:] == (4, 4, 4)


def loop(declared: list[int | str]) -> onnx.ModelProto:
    """A state of shape [N, 6] that is carried through a Loop whose body declares it otherwise."""
    body = oh.make_graph(
        [
            oh.make_node("Identity", ["go"], ["goes"]),
            oh.make_node("Mul", ["state", "half"], ["next"]),
        ],
        "body",
        [
            oh.make_tensor_value_info("i", onnx.TensorProto.INT64, []),
            oh.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
            _info("state", declared),
        ],
        [oh.make_tensor_value_info("goes", onnx.TensorProto.BOOL, []), _info("next", declared)],
    )
    nodes = [
        oh.make_node("MatMul", ["x", "w"], ["h"]),
        oh.make_node("Loop", ["count", "yes", "h"], ["s"], body=body),
        oh.make_node("MatMul", ["s", "v"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.standard_normal((3, 6)), "v": rng.standard_normal((6, 4)), "half": np.array([0.5]),
    }  # fmt: skip
    held = [nh.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    held += [nh.from_array(np.int64(3), "count"), nh.from_array(np.bool_(True), "yes")]
    graph = oh.make_graph(nodes, "g", [_info("x", ["N", 3])], [_info("y", ["N", 4])], held)
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("declared", [["N", 6], [], [1], ["a", 9], [1, 1, 1]], ids=str)
def test_states_of_loops(declared: list[int | str]) -> None:
    proto = loop(declared)
    check(load(proto))
    ort.run(proto, ort.random_feeds(proto))
    assert [g.id for g in analyze(proto).groups if g.resizable] == ["w"]
    assert check_shrink(proto).operands
    assert check_widen(proto).operands


def test_a_body_that_declares_another_rank() -> None:
    """onnxruntime takes the shapes that a loop's body declares at their word."""
    body = """
        c = MatMul (x, w)
        s = Loop (count, go, c) <body = b (int64 i, bool on, float[6] s) => (bool again, float[N,6] next) {
            again = Identity (on) m = MatMul (s, v) next = Tanh (m)
        }>
        y = MatMul (s, u)
    """
    weights = {"w": (4, 6), "v": (6, 6), "u": (6, 2), "count": np.array(2), "go": np.array(True)}
    model = build("float[N,4] x", "float[N,2] y", body, weights)
    trace = check_shrink(model, scale=0.5)
    assert trace.groups == {"w": (6, 3)}


def test_a_declared_shape_beside_what_changes() -> None:
    """A sum over everything that still says it is as wide as what it was made of; onnxruntime believes it."""
    body = "a = MatMul (x, w) s = ReduceSumSquare (a) r = Relu (s) m = Mul (a, r) y = MatMul (m, v)"
    model = build("float[N,3] x", "float[N,2] y", body, {"w": (3, 6), "v": (6, 2)})
    model.graph.value_info.extend([_info("s", ["N", 6]), _info("r", ["N", 6])])
    ort.session(model)
    half = rewrite(model, scale=0.5)
    assert half.trace.groups == {"w": (6, 3)}
    ort.session(half.model)


def test_a_declared_batch_that_the_input_contradicts() -> None:
    """onnxruntime doesn't load the model, as it stands, but what is rewritten of it says nothing wrong any more."""
    body = "a = MatMul (x, w) r = Relu (a) s = Neg (x) b = MatMul (r, v) y = Add (b, s)"
    model = build("float[7,3] x", "float y", body, {"w": (3, 6), "v": (6, 3)})
    model.graph.value_info.extend([_info(name, [2, width]) for name, width in zip("arsb", (6, 6, 3, 3), strict=True)])
    half = rewrite(model, scale=0.5)
    assert half.trace.groups == {"w": (6, 3)}
    ort.session(half.model)
