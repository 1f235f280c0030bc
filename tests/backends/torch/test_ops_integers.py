"""Quantised operators: against onnxruntime, integer by integer."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

MS = "com.microsoft"
KINDS = [(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)]


def const(array):
    return ("const", np.asarray(array))


def r(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def q(*shape: int, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max + 1, shape).astype(dtype)


def factor(*shape: int, seed: int = 0, dtype: type = np.int8) -> np.ndarray:
    """Integers to multiply others with, signed ones of 7 bits.

    x86 without VNNI adds two products of an unsigned and a signed byte in 16 bits, which saturate: there onnxruntime's
    sums are right for signed bytes of that range alone (its quantiser's `reduce_range`).
    """
    return q(*shape, seed=seed, dtype=dtype) // dtype(2 if dtype is np.int8 else 1)


def scale(number: float, count: int = 0, seed: int = 0) -> tuple[str, np.ndarray]:
    """One scale, or one a channel, near a number."""
    return const(np.float32(number) * (1 + np.random.default_rng(seed).random(count or ())).astype(np.float32))


def zero(dtype: type, count: int = 0, seed: int = 1) -> tuple[str, np.ndarray]:
    return const(np.random.default_rng(seed).integers(0, 20, count or ()).astype(dtype))


@pytest.mark.parametrize(("kinds", "each"), list(itertools.product(KINDS, [False, True])))
def test_qlinear_conv(agrees, kinds, each):
    a, b = kinds
    count = 6 if each else 0
    weights = (const(factor(6, 2, 3, 3, seed=2, dtype=b)), scale(0.02, count), zero(b, count if b is np.uint8 else 0))
    first, last = (q(2, 4, 7, 6, dtype=a), scale(0.1), zero(a)), (scale(0.7), zero(a, seed=3))
    given = {"pads": [1, 0, 1, 2], "strides": [2, 1], "group": 2}
    agrees("QLinearConv", *first, *weights, *last, **given)
    bias = const(np.random.default_rng(4).integers(-9000, 9000, 6).astype(np.int32))
    built = agrees("QLinearConv", *first, *weights, *last, bias, **given)
    assert not list(built.module.parameters())
    agrees("QLinearConv", *first, *weights, *last, bias, auto_pad="SAME_UPPER", strides=[2, 2], group=2, free=True)


def test_qlinear_conv_over_one_axis(agrees):
    weights = const(factor(6, 4, 3, seed=2, dtype=np.int8)), scale(0.02, 6), zero(np.int8)
    agrees("QLinearConv", q(2, 4, 9), scale(0.1), zero(np.uint8), *weights, scale(0.7), zero(np.uint8))


def test_channels_last_are_refused(refused):
    weights = const(q(6, 4, 1, 1, dtype=np.int8)), scale(0.02), zero(np.int8)
    last = {"channels_last": 1, "domain": MS}
    said = refused("QLinearConv", q(2, 5, 5, 4), scale(0.1), zero(np.uint8), *weights, scale(1), zero(np.uint8), **last)
    assert "channels are last" in said
    pool = (scale(0.1), zero(np.uint8), scale(0.1), zero(np.uint8))
    assert "channels are last" in refused("QLinearGlobalAveragePool", q(2, 5, 5, 4), *pool, **last)


@pytest.mark.parametrize(("kinds", "each"), list(itertools.product(KINDS, [False, True])))
def test_qlinear_matmul(agrees, kinds, each):
    a, b = kinds
    count = 5 if each and b is np.int8 else 0
    weights = const(factor(7, 5, seed=2, dtype=b)), scale(0.02, count), zero(b, count)
    for shape in ((3, 7), (2, 3, 7)):
        agrees("QLinearMatMul", q(*shape, dtype=a), scale(0.1), zero(a), *weights, scale(0.5), zero(a, seed=3))
    right = factor(2, 7, 5, seed=2, dtype=b), scale(0.02), zero(b)
    agrees("QLinearMatMul", q(2, 3, 7, dtype=a), scale(0.1), zero(a), *right, scale(0.5), zero(a), free=True)


@pytest.mark.parametrize(("kinds", "turned"), list(itertools.product(KINDS[:2], [(0, 0), (0, 1), (1, 1)])))
def test_qgemm(agrees, kinds, turned):
    (a, b), (one, two) = kinds, turned
    x, w = q(*((7, 3) if one else (3, 7)), dtype=a), factor(*((5, 7) if two else (7, 5)), seed=2, dtype=b)
    bias = const(np.random.default_rng(4).integers(-9000, 9000, 5).astype(np.int32))
    given = {"transA": one, "transB": two, "domain": MS}
    for count in (0, 5):
        weights = const(w), scale(0.02, count), zero(b, count)
        first = x, scale(0.1), zero(a), *weights
        agrees("QGemm", *first, bias, scale(0.5), zero(a, seed=3), **given)
        agrees("QGemm", *first, None, scale(0.5), zero(a, seed=3), alpha=0.5, **given)
        agrees("QGemm", *first, bias, alpha=0.5, tolerance=1e-5, **given)


@pytest.mark.parametrize("each", [False, True])
def test_products_of_integers_to_floats(agrees, each):
    count = 5 if each else 0
    for b in (np.int8, np.uint8):
        w, sb, zb = const(factor(7, 5, seed=2, dtype=b)), scale(0.02, count), zero(b, count)
        given = {"domain": MS, "tolerance": 1e-5}
        x = q(2, 3, 7), w, scale(0.1), sb
        agrees("MatMulIntegerToFloat", *x, **given)
        agrees("MatMulIntegerToFloat", *x, zero(np.uint8), zb, const(r(5)), **given)
        agrees("DynamicQuantizeMatMul", r(2, 3, 7), w, sb, **given)
        built = agrees("DynamicQuantizeMatMul", r(2, 3, 7), w, sb, zb, const(r(5)), **given)
        assert len(list(built.module.buffers())) >= 3


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_arithmetic(agrees, op, dtype):
    a, b, c = ((scale(s), zero(dtype, seed=k)) for k, s in enumerate((0.1, 0.07, 0.9 if op == "QLinearMul" else 0.2)))
    agrees(op, q(2, 4, 5, 5, dtype=dtype), *a, q(2, 4, 5, 5, seed=1, dtype=dtype), *b, *c, domain=MS)
    agrees(op, q(2, 4, 5, 5, dtype=dtype), *a, const(q(4, 1, 1, seed=1, dtype=dtype)), *b, *c, domain=MS)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_functions(agrees, dtype):
    x, one, two = q(2, 4, 5, 6, dtype=dtype), (scale(0.05), zero(dtype)), (scale(0.03, seed=1), zero(dtype, seed=2))
    agrees("QLinearLeakyRelu", x, *one, *two, alpha=0.2, domain=MS)
    agrees("QLinearSigmoid", x, *one, const(np.float32(1 / 256)), two[1], domain=MS)
    agrees("QLinearGlobalAveragePool", x, *one, *two, domain=MS)
    agrees("QLinearAveragePool", x, *one, *two, kernel_shape=[3, 2], strides=[2, 1], domain=MS)
    agrees("QLinearAveragePool", x, *one, *two, kernel_shape=[3, 2], pads=[1, 0, 1, 1], domain=MS)
    agrees("QLinearConcat", *two, x, *one, q(2, 3, 5, 6, seed=1, dtype=dtype), *two, axis=1, domain=MS)


@pytest.mark.parametrize(("dtype", "opset"), list(itertools.product([np.uint8, np.int8], [11, 13])))
def test_softmax(matches, dtype, opset):
    """Before opset 13 over all axes from `axis` on."""
    x, scales = q(2, 3, 5, dtype=dtype), {"s": np.float32(0.05), "z": dtype(9), "u": np.float32(1 / 256)}
    node = helper.make_node("QLinearSoftmax", ["x", "s", "z", "u", "v"], ["y"], domain=MS, axis=1, opset=opset)
    inputs = [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)]
    held = scales | {"v": dtype(0 if dtype is np.uint8 else -128)}
    made = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info("y")],
                             [numpy_helper.from_array(np.asarray(a), n) for n, a in held.items()])  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1)]
    matches(helper.make_model(made, opset_imports=opsets, ir_version=8), {"x": x})


def test_wide_integers(agrees):
    agrees("MatMulInteger", q(3, 7), const(factor(7, 5, dtype=np.int8)), zero(np.uint8), zero(np.int8, 5))
    x, w = q(2, 4, 7, 6), const(q(6, 4, 3, 3, dtype=np.uint8))
    agrees("ConvInteger", x, w, zero(np.uint8), zero(np.uint8), pads=[1, 1, 1, 1])


def nibbles(shape: tuple[int, ...], kind: str) -> onnx.TensorProto:
    numbers = np.random.default_rng(0).integers(*((-8, 8) if kind == "INT4" else (0, 16)), shape)
    return helper.make_tensor("w", getattr(onnx.TensorProto, kind), shape, numbers.flatten().tolist())


@pytest.mark.parametrize("kind", ["INT4", "UINT4"])
@pytest.mark.parametrize(("axis", "columns"), [(0, 8), (1, 8), (1, 7)])
def test_weights_of_four_bits_in_blocks(matches, kind, axis, columns):
    """The last block may be cut."""
    shape = (8, columns) if axis else (columns, 8)
    scales = np.random.default_rng(1).random([-(-n // 4) if k == axis else n for k, n in enumerate(shape)])
    zeros = helper.make_tensor("z", getattr(onnx.TensorProto, kind), scales.shape, [3] * scales.size)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "layer.scale", "z"], ["d"], axis=axis, block_size=4),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    held = [nibbles(shape, kind), numpy_helper.from_array(scales.astype(np.float32), "layer.scale"), zeros]
    made = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [3, shape[0]])],
                             [helper.make_tensor_value_info("y", 1, [3, shape[1]])], held)  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    built = matches(model, {"x": r(3, shape[0])}, 1e-5)
    assert not list(built.module.parameters())


@pytest.mark.parametrize("each", [False, True])
def test_scales_and_integer_weights_are_buffers(matches, each):
    """Whatever they are called: they follow from what they stand for."""
    count = 6 if each else 0
    held = {"conv.weight": factor(6, 4, 3, 3), "conv.scale": scale(0.02, count)[1], "x.scale": scale(0.1)[1],
            "conv.zero": zero(np.int8, count)[1], "x.zero": zero(np.uint8)[1]}  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x.scale", "x.zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "x.scale", "x.zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["conv.weight", "conv.scale", "conv.zero"], ["w"], axis=0),
        helper.make_node("Conv", ["d", "w"], ["y"]),
    ]
    made = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [2, 4, 6, 6])],
                             [helper.make_tensor_value_info("y", 1, [2, 6, 4, 4])],
                             [numpy_helper.from_array(array, name) for name, array in held.items()])  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    built = matches(model, {"x": 3 * r(2, 4, 6, 6)}, 1e-5)
    assert [name for name, _ in built.module.named_parameters() if "scale" in name] == []


@pytest.mark.parametrize("each", [False, True])
def test_attention_of_integers(agrees, each):
    count = 36 if each else 0
    w, sw, zw = const(factor(8, 36, seed=2, dtype=np.int8)), scale(0.01, count), zero(np.int8, count)
    given = {"num_heads": 3, "domain": MS, "tolerance": 1e-5}
    first = q(2, 5, 8), w, const(r(36, seed=3)), scale(0.02), sw
    agrees("QAttention", *first, None, zero(np.uint8), zw, **given)
    mask = const(np.array([[1] * 5, [1, 1, 1, 0, 0]], dtype=np.int32))
    built = agrees("QAttention", *first, mask, zero(np.uint8), zw, unidirectional=1, **given)
    assert {name for name, _ in built.module.named_parameters()} <= {"in2"}
    agrees("QAttention", *first, None, zero(np.uint8), zw, r(2, 2, 3, 4, 4, seed=4), outs=2, **given)
