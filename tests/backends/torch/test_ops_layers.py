"""Convolutions, pooling, normalisation, linear layers: each against onnxruntime."""

from __future__ import annotations

import itertools

import numpy as np
import pytest


def Const(array):
    return ("const", np.asarray(array))


def r(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_conv(agrees, spatial, group, bias):
    x, w = r(2, 4, *[9, 8, 7][:spatial]), r(8, 4 // group, *[3, 2, 3][:spatial], seed=1)
    extra = [Const(r(8, seed=2))] if bias else []
    attrs = {
        "group": group,
        "strides": [2, 1, 1][:spatial],
        "pads": [1] * 2 * spatial,
        "dilations": [1, 2, 1][:spatial],
    }
    agrees("Conv", x, Const(w), *extra, tolerance=2e-6, **attrs)


@pytest.mark.parametrize(
    ("auto", "stride", "free"),
    list(itertools.product(["SAME_UPPER", "SAME_LOWER", "VALID"], [1, 2, 3], [False, True])),
)
def test_auto_pad(agrees, auto, stride, free):
    x, w = r(2, 3, 10, 7), r(5, 3, 4, 3, seed=1)
    agrees("Conv", x, Const(w), auto_pad=auto, strides=[stride, stride], kernel_shape=[4, 3], free=free)
    if not free:
        agrees("MaxPool", x, auto_pad=auto, strides=[stride, stride], kernel_shape=[4, 3])
        agrees("AveragePool", x, auto_pad=auto, strides=[stride, stride], kernel_shape=[4, 3])


def test_uneven_padding(agrees):
    agrees("Conv", r(1, 2, 6, 6), Const(r(3, 2, 3, 3)), pads=[0, 1, 2, 3])
    agrees("Conv", r(1, 2, 6), Const(r(3, 2, 3)), pads=[0, 2])
    agrees("MaxPool", r(1, 2, 6, 6), kernel_shape=[3, 3], pads=[0, 1, 2, 2])
    agrees("MaxPool", r(1, 2, 6, 6), kernel_shape=[3, 3], pads=[2, 2, 2, 2])


def test_conv_with_computed_weights(agrees):
    agrees("Conv", r(1, 2, 6, 6), r(4, 2, 3, 3), r(4), strides=[2, 2])
    agrees("Conv", r(1, 2, 6, 6), r(4, 1, 3, 3), group=2)
    agrees("ConvTranspose", r(1, 2, 6, 6), r(2, 4, 3, 3), r(4), strides=[2, 2])


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize(
    "attrs",
    [
        {}, {"strides": 2}, {"strides": 2, "pads": 1}, {"strides": 3, "pads": 1, "output_padding": 1},
        {"strides": 2, "uneven": True}, {"group": 2, "dilations": 2}, {"strides": 2, "auto_pad": "SAME_UPPER"},
        {"strides": 2, "auto_pad": "SAME_LOWER"}, {"strides": 2, "auto_pad": "VALID"},
        {"strides": 3, "output_shape": 13},
    ],
)  # fmt: skip
def test_conv_transpose(agrees, spatial, attrs):
    sizes = {
        name: [value] * spatial
        for name, value in attrs.items()
        if name in ("strides", "dilations", "output_padding", "output_shape")
    }
    kwargs = {**sizes, **{name: attrs[name] for name in ("group", "auto_pad") if name in attrs}}
    if "pads" in attrs:
        kwargs["pads"] = [attrs["pads"]] * (2 * spatial)
    if "uneven" in attrs:
        kwargs["pads"] = [0] * spatial + [1] * spatial
    x, w = r(2, 4, *[5, 4, 4][:spatial]), r(4, 6 // attrs.get("group", 1), *[3, 3, 3][:spatial], seed=1)
    if "output_shape" in attrs:
        x = r(2, 4, *[5] * spatial)
    agrees("ConvTranspose", x, Const(w), Const(r(6, seed=2)), **kwargs)


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("pads", [0, 1])
def test_pooling(agrees, spatial, ceil, pads):
    x = r(2, 3, *[8, 9, 7][:spatial])
    kwargs = {"kernel_shape": [3] * spatial, "strides": [2] * spatial, "pads": [pads] * 2 * spatial, "ceil_mode": ceil}
    agrees("MaxPool", x, **kwargs)
    for include in (0, 1):
        agrees("AveragePool", x, count_include_pad=include, opset=19, **kwargs)
    agrees("MaxPool", x, dilations=[2] * spatial, **kwargs)


def test_odd_pooling(agrees):
    x = r(2, 3, 8, 9)
    agrees("AveragePool", x, kernel_shape=[3, 3], pads=[0, 1, 2, 1], count_include_pad=0)
    agrees("AveragePool", x, kernel_shape=[3, 3], pads=[0, 1, 2, 1], count_include_pad=1)
    agrees("AveragePool", x, kernel_shape=[2, 2], dilations=[2, 3], opset=19)
    agrees("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1, opset=19)
    agrees("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], outs=2)
    agrees("LpPool", x, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0], p=3)
    for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        agrees(op, x)
    agrees("GlobalAveragePool", r(2, 3, 5), free=True)


@pytest.mark.parametrize("opset", [9, 14, 15])
@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_batch_norm(agrees, opset, rank):
    x = r(3, 4, *[5, 6, 7][: rank - 2])
    params = [Const(r(4, seed=1)), Const(r(4, seed=2)), Const(r(4, seed=3)), Const(np.abs(r(4, seed=4)) + 0.1)]
    built = agrees("BatchNormalization", x, *params, opset=opset, epsilon=1e-3, momentum=0.8)
    norm = next(iter(built.module.children()))
    assert norm.momentum == 0.2
    assert norm.eps == 1e-3


def test_norms(agrees):
    x, scale, bias = r(2, 6, 5, 4), Const(r(6, seed=1)), Const(r(6, seed=2))
    agrees("InstanceNormalization", x, scale, bias, epsilon=1e-4)
    agrees("InstanceNormalization", r(2, 6, 9), scale, bias)
    agrees("GroupNormalization", x, scale, bias, opset=21, num_groups=3)
    agrees("GroupNormalization", x, Const(r(3, seed=1)), Const(r(3, seed=2)), opset=18, num_groups=3)
    agrees("LayerNormalization", x, Const(r(4, seed=1)), Const(r(4, seed=2)))
    agrees("LayerNormalization", x, Const(r(5, 4, seed=1)), axis=2, epsilon=1e-3)
    agrees("LayerNormalization", x, Const(r(4, seed=1)), Const(r(4, seed=2)), outs=3)
    agrees("LayerNormalization", x, r(4, seed=1), r(4, seed=2))
    agrees("LRN", x, size=3, alpha=0.1, beta=0.6, bias=1.5)
    agrees("LpNormalization", x, axis=1, p=1)
    agrees("MeanVarianceNormalization", x, tolerance=1e-5)
    agrees("RMSNormalization", x, Const(r(4, seed=1)), opset=23)
    agrees("Dropout", x, opset=11, ratio=0.3)
    agrees("Dropout", x, Const(np.float32(0.3)), opset=13)


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("opset", [7, 13])
def test_gemm(agrees, flip, opset):
    a, b = r(3, 4), r(5, 4, seed=1) if flip else r(4, 5, seed=1)
    built = agrees("Gemm", a, Const(b), Const(r(5, seed=2)), transB=flip, opset=opset)
    assert "nn.Linear(4, 5)" in built.source
    assert "bias=False" in agrees("Gemm", a, Const(b), transB=flip, opset=11).source
    agrees("Gemm", a, Const(b), Const(r(5, seed=2)), transB=flip, alpha=0.5, beta=2.0, opset=opset)
    agrees("Gemm", a, b, Const(r(3, 1, seed=2)), transB=flip, opset=opset)
    agrees("Gemm", np.ascontiguousarray(a.T), Const(b), Const(np.float32([2.0])), transA=1, transB=flip, opset=opset)


def test_products(agrees):
    assert "nn.Linear" in agrees("MatMul", r(2, 3, 4), Const(r(4, 5))).source
    agrees("MatMul", r(2, 3, 4), r(2, 4, 5))
    agrees("MatMul", Const(r(3, 4)), r(2, 4, 5))
    agrees("Einsum", r(2, 3, 4), r(2, 4, 5), equation="bij, bjk -> bik")
    agrees("Einsum", r(2, 3, 3), equation="...ii->...i")
    x, w = np.arange(12, dtype=np.uint8).reshape(3, 4), np.arange(20, dtype=np.uint8).reshape(4, 5)
    agrees("MatMulInteger", x, Const(w), Const(np.uint8(3)), Const(np.uint8(2)))
    image, kernel = np.arange(50, dtype=np.uint8).reshape(1, 2, 5, 5), np.arange(36, dtype=np.uint8).reshape(2, 2, 3, 3)
    agrees("ConvInteger", image, Const(kernel), Const(np.uint8(7)))


def test_prelu(agrees):
    x = r(2, 4, 3, 3)
    assert "nn.PReLU(4)" in agrees("PRelu", x, Const(r(4, 1, 1))).source
    assert "nn.PReLU()" in agrees("PRelu", x, Const(r(1))).source
    agrees("PRelu", x, Const(r(4, 3, 3)))
    agrees("PRelu", x, r(4, 1, 1))


def test_four_spatial_axes_are_refused(refused):
    assert "Conv node 'out0'" in refused("Conv", r(1, 1, 3, 3, 3, 3), Const(r(1, 1, 2, 2, 2, 2)))
