"""The trace alone must do: rebuild the weights from it, zero the original by it, with numpy and nothing of chanc."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper as nh
import pytest
from onnx.reference import ReferenceEvaluator

from chanc.rewriter import rewrite
from chanc.testing.builders import build

RESIDUAL = """
a = Conv <pads = [1, 1, 1, 1]> (x, w1)
n = BatchNormalization (a, g, b, m, var)
r = Relu (n)
k = Conv <pads = [1, 1, 1, 1]> (r, w2, b2)
s = Add (k, n)
j = Concat <axis = 1> (s, r, x)
d = Conv <group = 20> (j, w3)
v = Conv <group = 2> (n, w5)
l = Conv (n, w1x1)
t = Conv (l, w1x1)
f = GlobalAveragePool (t)
h = Flatten (f)
q = GlobalAveragePool (d)
i = Flatten (q)
o = GlobalAveragePool (v)
e = Flatten (o)
u = Concat <axis = 1> (h, i, e)
y = Gemm (u, w4, b4)
"""
RESIDUAL_SHAPES = {
    "w1": (8, 4, 3, 3), "g": (8,), "b": (8,), "m": (8,), "var": (8,), "w2": (8, 8, 3, 3), "b2": (8,),
    "w3": (20, 1, 3, 3), "w1x1": (8, 8, 1, 1), "w5": (6, 4, 1, 1), "w4": (34, 3), "b4": (3,),
}  # fmt: skip


def residual() -> onnx.ModelProto:
    """A residual, a concat with the raw input, grouped and depthwise convolutions, tied weights, three branches."""
    return build("float[N,4,6,6] x", "float y", RESIDUAL, RESIDUAL_SHAPES)


def arrays(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: nh.to_array(tensor) for tensor in model.graph.initializer}


def nodes(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {node.output[0]: node for node in model.graph.node}


def traced(model: onnx.ModelProto, **options: Any) -> tuple[dict[str, Any], onnx.ModelProto]:
    """The trace as it is read back from a file, and the rewritten model."""
    done = rewrite(model, **options)
    return json.loads(json.dumps(done.trace.to_json())), done.model


def taken(array: np.ndarray, axes: dict[str, list[int]]) -> np.ndarray:
    for axis, source in axes.items():
        array = np.take(array, source, axis=int(axis))
    return array


def test_the_contract_of_the_file(plain) -> None:
    trace, _ = traced(plain(), plan={"w1": {"keep": [1, 2, 7]}, "w2": {"keep": [0, 5]}})
    assert trace["format"] == 1
    assert trace["exact"] is True
    assert trace["groups"] == {"w1": {"old": 8, "new": 3}, "w2": {"old": 6, "new": 2}}
    found = {(o["node"], o["input"], o["initializer"]): o["axes"] for o in trace["operands"]}
    one, two = [1, 2, 7], [0, 5]
    assert found == {
        ("a", 1, "w1"): {"0": one},
        ("a", 2, "b1"): {"0": one},
        ("n", 1, "gamma1"): {"0": one},
        ("n", 2, "beta1"): {"0": one},
        ("n", 3, "mean1"): {"0": one},
        ("n", 4, "var1"): {"0": one},
        ("c", 1, "w2"): {"0": two, "1": one},
        ("c", 2, "b2"): {"0": two},
        ("y", 1, "w3"): {"1": two},
    }


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.75])
def test_every_operand_whose_shape_changed_is_named_once(scale: float) -> None:
    model = residual()
    trace, small = traced(model, scale=scale)
    old, new = arrays(model), arrays(small)
    expected = set()
    for name, node in nodes(small).items():
        before = nodes(model)[name]
        for k, (was, now) in enumerate(zip(before.input, node.input, strict=True)):
            if was in old and old[was].shape != new[now].shape:
                expected.add((name, k, was))
    named = [(o["node"], o["input"], o["initializer"]) for o in trace["operands"]]
    assert len(named) == len(set(named))
    assert set(named) == expected
    assert {("l", 1, "w1x1"), ("t", 1, "w1x1")} <= expected


@pytest.mark.parametrize("importance", ["l2", "random"])
@pytest.mark.parametrize("scale", [0.3, 0.5, 0.75])
def test_select_is_numpy_take_with_the_sources(scale: float, importance: str) -> None:
    model = residual()
    trace, small = traced(model, scale=scale, importance=importance)
    old, new, after = arrays(model), arrays(small), nodes(small)
    assert trace["operands"]
    for operand in trace["operands"]:
        have = new[after[operand["node"]].input[operand["input"]]]
        assert np.array_equal(have, taken(old[operand["initializer"]], operand["axes"]))
    touched = {o["initializer"] for o in trace["operands"]}
    for name in set(old) - touched:
        assert np.array_equal(new[name], old[name])


@pytest.mark.parametrize("scale", [1.5, 2.0])
def test_growth_is_take_with_zeros_in_consumers(scale: float) -> None:
    model = residual()
    trace, large = traced(model, scale=scale, transfer="select")
    old, new, after = arrays(model), arrays(large), nodes(large)
    for operand in trace["operands"]:
        have = new[after[operand["node"]].input[operand["input"]]]
        want = taken(old[operand["initializer"]], operand["axes"])
        assert have.shape == want.shape
        assert np.array_equal(have[have != 0], want[have != 0])


@pytest.mark.parametrize("transfer", ["svd", "reflect", "widen", "grow", "init"])
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_shapes_follow_from_the_trace_of_every_transfer(transfer: str, scale: float) -> None:
    model = residual()
    trace, resized = traced(model, scale=scale, transfer=transfer)
    old, new, after = arrays(model), arrays(resized), nodes(resized)
    for operand in trace["operands"]:
        have = new[after[operand["node"]].input[operand["input"]]]
        assert have.shape == taken(old[operand["initializer"]], operand["axes"]).shape


def zeroed(model: onnx.ModelProto, trace: dict[str, Any]) -> onnx.ModelProto:
    """The original with every dropped slice zeroed, each use by itself; variances stay, lest they divide by zero."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    old, by_output = arrays(model), nodes(copy)
    for k, operand in enumerate(trace["operands"]):
        node = by_output[operand["node"]]
        if (node.op_type, operand["input"]) == ("BatchNormalization", 4):
            continue
        array = old[operand["initializer"]].copy()
        for axis, source in operand["axes"].items():
            lead = np.moveaxis(array, int(axis), 0)
            lead[[n for n in range(lead.shape[0]) if n not in source]] = 0
        node.input[operand["input"]] = f"zeroed{k}"
        copy.graph.initializer.append(nh.from_array(array, f"zeroed{k}"))
    return copy


@pytest.mark.parametrize("importance", ["l1", "random"])
@pytest.mark.parametrize("scale", [0.3, 0.5, 0.75])
def test_the_shrink_oracle_from_the_trace_alone(scale: float, importance: str) -> None:
    model = residual()
    trace, small = traced(model, scale=scale, importance=importance)
    x = np.random.default_rng(1).standard_normal((2, 4, 6, 6)).astype(np.float32)
    (want,) = ReferenceEvaluator(zeroed(model, trace)).run(None, {"x": x})
    (have,) = ReferenceEvaluator(small).run(None, {"x": x})
    (full,) = ReferenceEvaluator(model).run(None, {"x": x})
    assert np.abs(have - want).max() < 1e-5 * np.abs(want).max()
    assert np.abs(full - want).max() > 1e-2 * np.abs(want).max()


def test_a_normalisation_across_channels_is_not_exact() -> None:
    body = """
    a = Conv (x, w1)
    t = Transpose <perm = [0, 2, 3, 1]> (a)
    n = LayerNormalization (t, g, b)
    y = MatMul (n, w2)
    """
    shapes = {"w1": (8, 3, 1, 1), "g": (8,), "b": (8,), "w2": (8, 5)}
    model = build("float[N,3,4,4] x", "float y", body, shapes)
    trace, _ = traced(model, scale=0.5)
    assert trace["groups"] == {"w1": {"old": 8, "new": 4}}
    assert trace["exact"] is False
    trace, _ = traced(model)
    assert trace["exact"] is True
