"""Elementwise operators with broadcasting: channels that meet are one (ONNX's multidirectional broadcasting)."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from chanc.analysis.layout import Layout, Opaque
from chanc.analysis.rules import rule
from chanc.analysis.sweep import Sweep

UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitCast", "BitwiseNot", "Cast", "Ceil", "Celu", "Clip",
    "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
    "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign",
    "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
)  # fmt: skip
NARY = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
)  # fmt: skip


@rule("Gelu", "QuickGelu", domain="com.microsoft")
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


@rule("BiasGelu", "FastGelu", domain="com.microsoft")
@rule(*NARY)
def nary(sweep: Sweep) -> None:
    """Any number of operands, broadcast against each other; a bias lies on the last axis."""
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
    if not constants and present:
        return sweep.together([sweep.input(k) for k in present])
    layouts = {k: sweep.input(k) for k in present if k not in constants}
    if len(layouts) == 1 and len(constants) == 1:
        (layout,) = layouts.values()
        if _adopted(sweep, constants[0], layout):
            return layout
    varying = varying_from_right(layouts.values())
    alone = all(sweep.is_weight(k) for k in present)
    for k in constants:
        value = sweep.value(k)
        assert value is not None
        shape = sweep.initializer(value).shape
        axes = [axis for axis, n in enumerate(shape) if n > 1 and (alone or axis - len(shape) in varying)]
        # Truth values and counts, one a channel, go with it; they are no indices here.
        layouts[k] = sweep.parameter(k, axes, integers=not alone)
    if not layouts:
        raise Opaque("it has no inputs")
    return sweep.together([layouts[k] for k in sorted(layouts, key=lambda k: (k in constants, k))])


def _adopted(sweep: Sweep, index: int, layout: Layout) -> bool:
    """Whether a constant is one value a channel of an activation, or one for all, and needs no labels of its own."""
    value = sweep.value(index)
    assert value is not None
    shape = sweep.initializer(value).shape
    offset = layout.rank - len(shape)
    longer = [axis for axis, n in enumerate(shape) if n > 1]
    if offset < 0 or len(longer) > 1 or 0 in shape:
        return False
    if not longer:
        return True
    axis = longer[0]
    parts = layout.on(axis + offset)
    return len(parts) == 1 and len(parts[0].slots) == 1 and sweep.adopt(index, axis, parts[0].labels)


def varying_from_right(layouts: Iterable[Layout]) -> set[int]:
    """The axes along which any of the layouts has channels, counted from the right: -1 is the last."""
    return {axis - layout.rank for layout in layouts for field in layout.fields for axis in field.axes}


def addend(sweep: Sweep, index: int, result: Layout) -> Layout:
    """The layout of an input that is broadcast to a result; a constant has labels where the result has channels."""
    if not sweep.is_parameter(index):
        return sweep.input(index)
    value = sweep.value(index)
    assert value is not None
    shape = sweep.initializer(value).shape
    varying = varying_from_right([result])
    return sweep.parameter(index, [k for k in range(len(shape)) if shape[k] != 1 and k - len(shape) in varying])
