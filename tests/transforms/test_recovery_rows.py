"""Rows of a regression are what the layer multiplies: with its weights they give its outputs."""

from __future__ import annotations

import re

import numpy as np
import onnx_ir as ir
import pytest

from chanc.backends import ort
from chanc.testing.builders import build
from chanc.transforms._edit import Editor
from chanc.transforms.recovery.layers import Layer, _tail
from chanc.transforms.recovery.ridge import Fit
from chanc.transforms.recovery.rows import at, read, sample
from chanc.transforms.recovery.write import plain, write

RNG = np.random.default_rng(4)

LAYERS = {
    "1d": ("N,4,11", "Conv <strides = [2], pads = [2, 0]> (x, w, b)", (6, 4, 4)),
    "3d": ("N,4,5,4,6", "Conv <dilations = [2, 1, 1], pads = [2, 1, 0, 1, 1, 0]> (x, w, b)", (6, 4, 3, 2, 1)),
    "depthwise": ("N,6,7,7", "Conv <group = 6, pads = [1, 1, 1, 1]> (x, w, b)", (6, 1, 3, 3)),
    "two of each": ("N,3,7,7", "Conv <group = 3> (x, w, b)", (6, 1, 3, 3)),
    "same": ("N,4,7,8", 'Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w, b)', (6, 4, 3, 3)),
    "valid": ("N,4,7,8", 'Conv <auto_pad = "VALID", strides = [2, 1]> (x, w, b)', (6, 4, 3, 3)),
    "turned": ("N,4,5,4", "ConvTranspose <strides = [2, 3], pads = [1, 0, 1, 2], output_padding = [1, 0]> (x, w, b)",
               (4, 6, 3, 4)),
    "gemm": ("N,4", "Gemm <transB = 1> (x, w, b)", (6, 4)),
    "product": ("N,5,4", "MatMul (x, w)", (4, 6)),
}  # fmt: skip


def layer_of(model: ir.Model) -> Layer:
    node = next(iter(model.graph))
    return Layer(node, 0, _tail(node, dict.fromkeys(model.graph, 0)))


@pytest.mark.parametrize("name", LAYERS)
def test_rows_times_weights_are_outputs(name: str) -> None:
    sizes, node, shape = LAYERS[name]
    text = f"z = {node}\nn = BatchNormalization (z, g, h, m, var)\ny = Mul (n, c)"
    if name == "product":
        text = f"z = {node}\nn = Add (z, b)\ny = Mul (n, g)"
    vectors = {key: (RNG.uniform(0.5, 2, 6) * (-1) ** np.arange(6)).astype(np.float32) for key in "bghm"}
    weights = {"w": shape, **vectors, "var": (6,), "c": np.full(1, 1.5, dtype=np.float32)}
    if name == "gemm":
        text = f"y = {node}"
    used = {key: weights[key] for key in weights.keys() & set(re.findall(r"\w+", text))}
    model = ir.from_proto(build(f"float[{sizes}] x", "float y", text, used))
    layer = layer_of(model)
    x = RNG.standard_normal([3 if size == "N" else int(size) for size in sizes.split(",")]).astype(np.float32)
    y = ort.run(model, {"x": x})[0]
    assert layer.tail.end.name == "y"
    positions = sample(y.shape, layer.axis, 20, RNG)
    assert (np.diff(positions) > 0).all() or positions.size == 3
    weight, shift = plain(layer)
    rows = read(layer, x, positions, y.shape)
    made = (rows @ weight + shift).transpose(1, 0, 2).reshape(len(positions), -1)
    assert np.allclose(made, at(y, layer.axis, positions), atol=1e-4)

    # What is written is what the fit says.
    fit = Fit(weight * 0.5 + 0.1, shift - 0.25, 1.0, 0.5)
    write(Editor(model), layer, fit)
    wanted = (rows @ fit.weight + fit.shift).transpose(1, 0, 2).reshape(len(positions), -1)
    assert np.allclose(wanted, at(ort.run(model, {"x": x})[0], layer.axis, positions), atol=1e-4)


def test_a_layer_without_a_bias_gets_one() -> None:
    model = ir.from_proto(build("float[N,3,5,5] x", "float y", "y = Conv (x, w)", {"w": (4, 3, 1, 1)}))
    layer = layer_of(model)
    weight, shift = plain(layer)
    write(Editor(model), layer, Fit(weight, shift + 2, 1.0, 0.5))
    x = RNG.standard_normal((2, 3, 5, 5)).astype(np.float32)
    assert np.allclose(ort.run(model, {"x": x})[0].mean(axis=(0, 2, 3)), 2 + np.einsum(
        "oi,nihw->o", model.graph.initializers["w"].const_value.numpy()[:, :, 0, 0], x) / 50, atol=1e-5)  # fmt: skip
    assert "w.bias" in model.graph.initializers


def test_all_positions_are_taken_where_they_are_few() -> None:
    assert np.array_equal(sample((2, 7, 3), 1, 6, RNG), np.arange(6))
    assert sample((2, 7, 3), 1, 4, RNG).size == 4
