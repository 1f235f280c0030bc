"""Networks between scikit-learn's preparation of features and its ZipMap (ONNX's ai.onnx.ml)."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as nh
import pytest

from chanc.analysis import analyze
from chanc.backends import ort
from chanc.ir import check, load, to_proto
from chanc.oracles import check_shrink, check_widen

ML = "ai.onnx.ml"
FRONTS = {
    "a value a feature": oh.make_node("Scaler", ["x"], ["s"], domain=ML, offset=[1.0, 2.0, 3.0], scale=[1.0, 0.5, 2.0]),
    "one value": oh.make_node("Scaler", ["x"], ["s"], domain=ML, offset=[1.0], scale=[0.5]),
    "imputer": oh.make_node("Imputer", ["x"], ["s"], domain=ML, imputed_value_floats=[0.0, 1.0, 2.0]),
    "binarizer": oh.make_node("Binarizer", ["x"], ["s"], domain=ML, threshold=0.2),
    "normalizer": oh.make_node("Normalizer", ["x"], ["s"], domain=ML, norm="L2"),
}


def perceptron(front: onnx.NodeProto) -> onnx.ModelProto:
    """Features [N, 3], 16 hidden units, two classes: labels, and a list of {class: probability}."""
    maps = onnx.ValueInfoProto(name="y")
    entry = maps.type.sequence_type.elem_type.map_type
    entry.key_type, entry.value_type.tensor_type.elem_type = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    rng = np.random.default_rng(0)
    shapes = {"w1": (3, 16), "b1": (16,), "w2": (16, 2), "b2": (2,)}
    nodes = [
        front,
        oh.make_node("Gemm", ["s", "w1", "b1"], ["h"]),
        oh.make_node("Relu", ["h"], ["r"]),
        oh.make_node("Gemm", ["r", "w2", "b2"], ["l"]),
        oh.make_node("ArgMax", ["l"], ["label"], axis=1, keepdims=0),
        oh.make_node("Softmax", ["l"], ["p"]),
        oh.make_node("ZipMap", ["p"], ["y"], domain=ML, classlabels_int64s=[0, 1]),
    ]
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3])],
        [oh.make_tensor_value_info("label", onnx.TensorProto.INT64, ["N"]), maps],
        [nh.from_array(rng.standard_normal(shape).astype(np.float32), name) for name, shape in shapes.items()],
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17), oh.make_opsetid(ML, 3)], ir_version=8)


@pytest.mark.parametrize("front", FRONTS)
def test_hidden_units_may_change(front: str) -> None:
    model = perceptron(FRONTS[front])
    check(load(model))
    assert {g.id for g in analyze(model).groups if g.resizable} == {"w1"}
    assert check_shrink(model).operands
    assert check_widen(model).operands


def test_map_types_come_through() -> None:
    model = perceptron(FRONTS["one value"])
    loaded = load(model)
    assert to_proto(loaded).graph.output[1] == model.graph.output[1]
    assert to_proto(load(loaded)).graph.output[1] == model.graph.output[1]
    label, rows = ort.run(loaded, ort.random_feeds(loaded))
    assert rows.shape == (*label.shape, 2)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)


def test_scaled_features_between_two_layers() -> None:
    nodes = [
        oh.make_node("MatMul", ["x", "a"], ["h"]),
        oh.make_node("Normalizer", ["h"], ["n"], domain=ML, norm="L2"),
        oh.make_node("MatMul", ["n", "b"], ["i"]),
        oh.make_node("Scaler", ["i"], ["s"], domain=ML, offset=[0.0] * 4, scale=[1.0, 2.0, 3.0, 4.0]),
        oh.make_node("MatMul", ["s", "c"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    held = {"a": (3, 8), "b": (8, 4), "c": (4, 2)}
    graph = oh.make_graph(
        nodes, "g",
        [oh.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3])],
        [oh.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 2])],
        [nh.from_array(rng.standard_normal(shape).astype(np.float32), name) for name, shape in held.items()],
    )  # fmt: skip
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17), oh.make_opsetid(ML, 3)], ir_version=8)
    found = analyze(model)
    assert {g.id: g.exact for g in found.groups if g.resizable} == {"a": False}
    assert "an attribute holds a value for each" in found.group("b").reason


@pytest.mark.parametrize("operator", ["SimplifiedLayerNormalization"])
def test_operators_that_onnxruntime_alone_has_in_onnxs_domain(operator: str) -> None:
    rng = np.random.default_rng(0)
    held = {"a": (3, 8), "g": (8,), "c": (8, 2)}
    graph = oh.make_graph(
        [
            oh.make_node("MatMul", ["x", "a"], ["h"]),
            oh.make_node(operator, ["h", "g"], ["n"], axis=-1, epsilon=1e-5),
            oh.make_node("MatMul", ["n", "c"], ["y"]),
        ],
        "g",
        [oh.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3])],
        [oh.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 2])],
        [nh.from_array(rng.standard_normal(shape).astype(np.float32), name) for name, shape in held.items()],
    )
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)
    check(load(model))
    assert {g.id: g.exact for g in analyze(model).groups if g.resizable} == {"a": False}
