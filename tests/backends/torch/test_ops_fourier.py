"""DFT, STFT and windows: against onnxruntime."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx import helper


def const(array):
    return ("const", np.asarray(array))


def r(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("last", "inverse", "axis"), list(itertools.product([1, 2], [0, 1], [1, 2, -2])))
def test_dft(agrees, last, inverse, axis):
    x, given = r(2, 6, 9, last), {"inverse": inverse, "tolerance": 1e-5}
    agrees("DFT", x, axis=axis, opset=17, **given)
    agrees("DFT", x, None, const(np.int64(axis)), opset=20, **given)
    agrees("DFT", x, const(np.int64(4)), axis=axis, opset=17, **given)
    agrees("DFT", x, const(np.int64(16)), axis=axis, opset=17, **given)


@pytest.mark.parametrize("axis", [1, 2])
def test_half_a_spectrum(agrees, refused, axis):
    agrees("DFT", r(2, 6, 9, 1), axis=axis, onesided=1, opset=17, tolerance=1e-5)
    agrees("DFT", r(2, 6, 9, 1), const(np.int64(8)), axis=axis, onesided=1, opset=17, tolerance=1e-5)
    assert "complex numbers" in refused("DFT", r(2, 6, 9, 2), axis=axis, onesided=1)
    assert "the inverse" in refused("DFT", r(2, 6, 9, 2), axis=axis, onesided=1, inverse=1)


@pytest.mark.parametrize("onesided", [0, 1])
def test_stft(agrees, onesided):
    x, step, window = r(2, 50, 1), const(np.int64(5)), const(np.hanning(16).astype(np.float32))
    given = {"onesided": onesided, "opset": 17, "tolerance": 1e-5}
    assert not list(agrees("STFT", x, step, window, **given).module.parameters())
    agrees("STFT", x, step, window, const(np.int64(16)), **given)
    agrees("STFT", x, step, None, const(np.int64(12)), **given)
    agrees("STFT", x, step, window[1], **given)


def test_stft_of_complex_numbers(agrees):
    agrees("STFT", r(2, 50, 2), const(np.int64(7)), const(r(16)), onesided=0, opset=17, tolerance=1e-5)


@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows_of_a_known_length_are_computed_at_once(matches, op):
    import onnx

    nodes = [
        helper.make_node("Constant", [], ["n"], value_int=16),
        helper.make_node(op, ["n"], ["w"]),
        helper.make_node("Mul", ["x", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [3, 16])], [helper.make_tensor_value_info("y", 1, [3, 16])]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    matches(onnx.shape_inference.infer_shapes(proto), {"x": r(3, 16)})
