"""Elementwise operators with broadcasting: channels that meet are one (ONNX's multidirectional broadcasting)."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from chanc.analysis.ahead import meets
from chanc.analysis.context import Context
from chanc.analysis.layout import Layout, Opaque
from chanc.analysis.operands import adopted, varying_from_right
from chanc.analysis.rules import rule

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
def unary(context: Context) -> None:
    """One operand that matters; bounds (Clip) are scalars."""
    context.output(context.input(0))


@rule("Dropout")
def dropout(context: Context) -> None:
    """Dropout: the data and, where asked for, its mask."""
    for index in range(len(context.node.outputs)):
        context.output(context.input(0), index)


@rule("CastLike")
def cast_like(context: Context) -> None:
    """CastLike: only the type of the second input matters."""
    context.unneeded(1)
    context.output(context.input(0))


@rule("BiasGelu", "FastGelu", domain="com.microsoft")
@rule(*NARY)
def nary(context: Context) -> None:
    """Any number of operands, broadcast against each other; a bias lies on the last axis."""
    context.output(broadcast(context))


@rule("Div")
def div(context: Context) -> None:
    """Div: weights divided by their own norm (weight normalisation) can't be zero, so that what goes isn't nothing."""
    result = broadcast(context)
    if context.is_weight(0) and context.is_weight(1) and _bare_norm(context.value(1)):
        for field in result.fields:
            context.mark_inexact(field.labels, "weights divided by their norm")
    context.output(result)


def _bare_norm(value: ir.Value | None) -> bool:
    """Whether a value is a reduction, seen through roots and reshapes: no bound or epsilon keeps it from zero."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in ("Sqrt", "Pow", "Reshape", "Unsqueeze", "Squeeze", "Expand"):
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    return node is not None and node.op_type.startswith("Reduce")


def broadcast(context: Context) -> Layout:
    """The layout of all inputs of the current node together.

    A constant gets labels on the axes on which an activation has channels, or on which what it makes meets one that may
    have some: a gain times 1 / deviation. Among weights alone it has them everywhere.
    """
    present = [k for k, value in enumerate(context.inputs) if value is not None]
    constants = [k for k in present if context.is_parameter(k)]
    if not constants and present:
        return context.together([context.input(k) for k in present])
    layouts = {k: context.input(k) for k in present if k not in constants}
    if len(layouts) == 1 and len(constants) == 1:
        (layout,) = layouts.values()
        if adopted(context, constants[0], layout):
            return layout
    varying = varying_from_right(layouts.values())
    # Beside single numbers that the model computes (a scale of what comes in) a weight stands alone as well.
    single = all(size == 1 for layout in layouts.values() for size in layout.sizes)
    alone = single or all(context.is_weight(k) for k in present)
    for k in constants:
        shape = context.initializer(k).shape
        made = _made(context, k, layouts.values()) if not alone else set()
        axes = [a for a, n in enumerate(shape) if n > 1 and (alone or a - len(shape) in varying | made)]
        if not alone:
            crossed = _crossed(context, k, layouts.values())
            axes = [a for a in axes if a - len(shape) not in crossed]
        # Truth values and counts, one a channel, go with it; they are no indices here.
        layouts[k] = context.parameter(k, axes, integers=not alone)
    if not layouts:
        raise Opaque("it has no inputs")
    return context.together([layouts[k] for k in sorted(layouts, key=lambda k: (k in constants, k))])


def _crossed(context: Context, index: int, layouts: Collection[Layout]) -> set[int]:
    """The axes, from the right, along which a constant has no labels: it has them along others of the same channels.

    A bias for each column of each head (Transformer-XL's) meets rows and columns of one field. Of these either may go:
    the first, which are whole heads, so that no score is a sum over fewer columns.
    """
    rank = len(context.initializer(index).shape)
    rows: set[int] = set()
    for layout in layouts:
        for field in layout.fields:
            met = [axis - layout.rank for axis in field.axes if axis - layout.rank >= -rank]
            long = [axis for axis in met if context.initializer(index).shape[axis] > 1]
            rows.update(long[1:])
    found = context.findings.modes.setdefault((context.node, index), " ".join(map(str, sorted(rows))))
    return set(map(int, found.split()))


def _made(context: Context, index: int, layouts: Collection[Layout]) -> set[int]:
    """The axes, from the right, that only this constant makes longer than 1, and that meet an activation behind."""
    constant, (output,) = context.initializer(index), context.node.outputs
    if not constant.channels:
        return set()
    shape = constant.shape
    rank = max(len(shape), *(layout.rank for layout in layouts))
    return {
        axis for axis in range(-len(shape), 0)
        if shape[axis] > 1 and all(axis < -layout.rank or layout.size(axis) == 1 for layout in layouts)
        and meets(output, axis + rank, rank, context.findings.asked)
    }  # fmt: skip
