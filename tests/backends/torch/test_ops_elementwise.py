"""Activations, arithmetic, reductions: each against onnxruntime, over opsets."""

from __future__ import annotations

import numpy as np
import pytest


def const(array):
    return ("const", np.asarray(array))


def r(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X = r(2, 3, 4, 5)
UNARY = [
    "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSwish", "Mish", "Erf", "Exp", "Abs", "Reciprocal", "Floor",
    "Ceil", "Round", "Sign", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh", "Neg", "IsNaN", "IsInf", "Identity",
    "LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu", "HardSigmoid", "Shrink", "Hardmax",
]  # fmt: skip


@pytest.mark.parametrize("op", UNARY)
def test_unary(agrees, op):
    agrees(op, X, opset=18, tolerance=4e-6)


@pytest.mark.parametrize("op", ["Log", "Sqrt", "Asin", "Acos", "Atanh"])
def test_unary_on_the_unit_interval(agrees, op):
    agrees(op, np.random.default_rng(0).uniform(0.01, 0.95, (3, 4)).astype(np.float32))
    agrees("Acosh", np.abs(r(3, 4)) + 1)


def test_attributes(agrees):
    agrees("LeakyRelu", X, alpha=0.3)
    agrees("Elu", X, alpha=0.3)
    agrees("Celu", X, alpha=0.3)
    agrees("Selu", X, alpha=1.2, gamma=0.7)
    agrees("ThresholdedRelu", X, alpha=0.4)
    agrees("HardSigmoid", X, alpha=1 / 6, beta=0.5)
    agrees("HardSigmoid", X, alpha=0.3, beta=0.4)
    agrees("Shrink", X, lambd=0.6, bias=0.2)
    agrees("IsInf", np.float32([1.0, np.inf, -np.inf, np.nan]), detect_negative=0)
    for approximate in ("none", "tanh"):
        agrees("Gelu", X, opset=20, approximate=approximate)


def test_clip(agrees):
    assert "F.relu6" in agrees("Clip", X, opset=7, min=0.0, max=6.0).source
    agrees("Clip", X, opset=7, max=0.5)
    agrees("Clip", X, opset=7)
    agrees("Clip", X, const(np.float32(-0.5)), const(np.float32(0.5)))
    agrees("Clip", X, None, const(np.float32(0.5)))
    agrees("Clip", X, np.float32(-0.5), np.float32(0.5))
    agrees("Clip", np.int64([1, 5, 9]), const(np.int64(2)), const(np.int64(6)))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, None])
def test_softmax(agrees, op, axis):
    attrs = {} if axis is None else {"axis": axis}
    agrees(op, X, opset=11, **attrs)
    agrees(op, X, opset=13, **attrs)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Equal", "Less", "Greater", "PRelu", "Pow"])
def test_binary(agrees, op):
    if op == "Pow":
        agrees(op, np.abs(X), r(4, 5, seed=1))
        agrees(op, X, const(np.float32(2.0)))
        agrees(op, X, const(np.int64([2])))
        return
    agrees(op, X, r(4, 5, seed=1))
    if op != "PRelu":
        agrees(op, r(5, seed=1), X)
        agrees(op, X, const(np.float32(0.3)))
        agrees(op, const(np.float32([0.3])), X)
        agrees(op, np.float32(0.5), const(np.float32([[0.3]])))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers(agrees, dtype):
    a, b = np.array([7, -7, 5, -6], dtype), np.array([2, 2, -3, -4], dtype)
    for op in ("Add", "Sub", "Mul", "Div", "Mod", "Equal", "Max"):
        agrees(op, a, b)
    agrees("Div", a, const(np.array(2, dtype)))
    agrees("Mod", a, b, fmod=1)
    agrees("Pow", a, const(np.array(2, dtype)))
    agrees("Mod", np.float32([5.5, -5.5]), np.float32([2, 2]), fmod=1)
    for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        agrees(op, a, b, opset=18)
    agrees("BitwiseNot", a, opset=18)
    agrees("BitShift", np.array([1, 2, 200], np.uint8), np.array([1, 2, 3], np.uint8), direction="LEFT")
    agrees("BitShift", np.array([8, 2, 200], np.uint32), np.array([1, 2, 3], np.uint32), direction="RIGHT")


def test_logic(agrees):
    a, b = X > 0, X < 0.5
    for op in ("And", "Or", "Xor"):
        agrees(op, a, b)
    agrees("Not", a)
    agrees("Where", a, X, r(4, 5))
    agrees("Where", a, X, const(np.float32(0.5)))
    agrees("Where", a, const(np.float32(1.0)), const(np.float32(-1.0)))
    agrees("LessOrEqual", X, const(np.float32(0.0)))
    agrees("GreaterOrEqual", X, r(5))


def test_variadic(agrees):
    for op in ("Max", "Min", "Sum", "Mean"):
        agrees(op, X, r(4, 5, seed=1), r(1, 3, 1, 1, seed=2))
        agrees(op, X)


REDUCE = ["Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]


@pytest.mark.parametrize("name", REDUCE)
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions(agrees, name, keep):
    op, x = f"Reduce{name}", np.abs(X) + 0.1
    agrees(op, x, opset=11, axes=[1, -1], keepdims=keep, tolerance=1e-5)
    agrees(op, x, opset=11, keepdims=keep, tolerance=1e-5)
    agrees(op, x, const(np.int64([1, -1])), opset=18, keepdims=keep, tolerance=1e-5)
    agrees(op, x, opset=18, keepdims=keep, tolerance=1e-5)
    if name in ("Mean", "Sum", "Max", "Min"):
        agrees(op, x, opset=18, keepdims=keep, noop_with_empty_axes=1)
    agrees("ReduceSum", np.int32([[1, 2], [3, 4]]), const(np.int64([0])), opset=13, keepdims=keep)


def test_arg_and_top(agrees):
    for op in ("ArgMax", "ArgMin"):
        agrees(op, X, axis=1)
        agrees(op, X, axis=-1, keepdims=0)
        agrees(op, np.float32([[1, 3, 3], [2, 2, 1]]), axis=1, select_last_index=1)
    agrees("TopK", X, const(np.int64([2])), outs=2, axis=1)
    agrees("TopK", X, const(np.int64([2])), outs=2, axis=-1, largest=0)
    agrees("TopK", X, np.int64([2]), outs=2)
    for exclusive in (0, 1):
        for reverse in (0, 1):
            agrees("CumSum", X, const(np.int64(2)), exclusive=exclusive, reverse=reverse)


def test_casts(agrees):
    import onnx

    for to in ("INT64", "INT32", "BOOL", "DOUBLE", "FLOAT16", "UINT8"):
        agrees("Cast", np.abs(X) * 3, to=getattr(onnx.TensorProto, to))
    agrees("CastLike", X, np.int64([1]))
    agrees("Cast", np.int64([1, 2]), to=onnx.TensorProto.FLOAT)


def test_quantisation(agrees):
    scale, zero = const(np.float32(0.05)), const(np.uint8(128))
    agrees("QuantizeLinear", X, scale, zero)
    agrees("QuantizeLinear", X, const(np.float32([0.1, 0.2, 0.05])), const(np.int8([0, 3, -4])), axis=1)
    agrees(
        "DequantizeLinear",
        np.arange(12, dtype=np.uint8).reshape(1, 3, 4),
        const(np.float32([0.1, 0.2, 0.3])),
        const(np.uint8([1, 2, 3])),
    )
    agrees("DequantizeLinear", np.int8([1, -5, 7]), const(np.float32(0.1)))
    agrees("DynamicQuantizeLinear", X, outs=3)
