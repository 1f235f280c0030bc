"""Elementwise operators with broadcasting: channels that meet are one (ONNX's multidirectional broadcasting)."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from chanc.analysis.layout import Layout, Opaque
from chanc.analysis.rules import rule
from chanc.analysis.sweep import Sweep
from chanc.ir.initializers import constant_shape

UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "Ceil", "Celu", "Clip", "Cos",
    "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
    "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign",
    "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
)  # fmt: skip
NARY = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
)  # fmt: skip


@rule(*UNARY)
def unary(sweep: Sweep) -> None:
    """One operand that matters; bounds (Clip) are scalars."""
    sweep.output(sweep.input(0))


@rule("Dropout")
def dropout(sweep: Sweep) -> None:
    """Dropout: the data and, where asked for, its mask."""
    assert sweep.node is not None
    for index in range(len(sweep.node.outputs)):
        sweep.output(sweep.input(0), index)


@rule("CastLike")
def cast_like(sweep: Sweep) -> None:
    """CastLike: only the type of the second input matters."""
    sweep.unneeded(1)
    sweep.output(sweep.input(0))


@rule(*NARY)
def nary(sweep: Sweep) -> None:
    """Any number of operands, broadcast against each other."""
    sweep.output(broadcast(sweep))


@rule("Div")
def div(sweep: Sweep) -> None:
    """Div: weights divided by their own norm (weight normalisation) can't be zero, so that what goes isn't nothing."""
    result = broadcast(sweep)
    if sweep.is_weight(0) and sweep.is_weight(1) and _bare_norm(sweep.value(1)):
        for field in result.fields:
            sweep.mark_inexact(field.labels, "weights divided by their norm")
    sweep.output(result)


def _bare_norm(value: ir.Value | None) -> bool:
    """Whether a value is a reduction, seen through roots and reshapes: no bound or epsilon keeps it from zero."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in ("Sqrt", "Pow", "Reshape", "Unsqueeze", "Squeeze", "Expand"):
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    return node is not None and node.op_type.startswith("Reduce")


def broadcast(sweep: Sweep) -> Layout:
    """The layout of all inputs of the current node together.

    A constant gets labels only on the axes on which an activation has channels; among weights alone, everywhere.
    """
    assert sweep.node is not None
    present = [k for k, value in enumerate(sweep.node.inputs) if value is not None]
    constants = [k for k in present if sweep.is_parameter(k)]
    layouts = {k: sweep.input(k) for k in present if k not in constants}
    varying = varying_from_right(layouts.values())
    alone = all(sweep.is_weight(k) for k in present)
    for k in constants:
        value = sweep.value(k)
        assert value is not None
        shape = constant_shape(value)
        axes = [axis for axis, n in enumerate(shape) if n > 1 and (alone or axis - len(shape) in varying)]
        layouts[k] = sweep.parameter(k, axes)
    if not layouts:
        raise Opaque("it has no inputs")
    return sweep.together([layouts[k] for k in sorted(layouts, key=lambda k: (k in constants, k))])


def varying_from_right(layouts: Iterable[Layout]) -> set[int]:
    """The axes along which any of the layouts has channels, counted from the right: -1 is the last."""
    return {axis - layout.rank for layout in layouts for field in layout.fields for axis in field.axes}
