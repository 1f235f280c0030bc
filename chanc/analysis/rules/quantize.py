"""Quantisation (ONNX QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear) and products of quantised integers.

Scale and zero point, where there is one a channel, follow along `axis`. Integer weights behind a DequantizeLinear are
channels like others. Products of integers (QLinearConv, ConvInteger, QLinearMatMul, MatMulInteger) keep their widths.
"""

from __future__ import annotations

from chanc.analysis.context import Context
from chanc.analysis.layout import Layout, Opaque, plain
from chanc.analysis.rules import rule
from chanc.ir.initializers import constant_shape

INTEGER_PRODUCTS = (
    "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulBnb4", "MatMulInteger16", "MatMulIntegerToFloat",
    "MatMulNBits", "QAttention", "QGemm", "QLinearConv",
)  # fmt: skip


@rule("QuantizeLinear", "DequantizeLinear", domain="com.microsoft")
@rule("QuantizeLinear", "DequantizeLinear")
def quantize(context: Context) -> None:
    """x, scale and zero point of one value, or of one a position of `axis`; blocks along an axis are opaque."""
    if context.integer("block_size", 0):
        raise Opaque("it is quantised in blocks")
    layout = _data(context)
    scale = context.value(1)
    size = constant_shape(scale) if scale is not None and scale.const_value is not None else None
    if size is None:
        size = tuple(int(str(n)) for n in context.input(1).sizes)
    axis = context.integer("axis", 1)
    if len(size) == 1 and size[0] > 1:
        layout = _by_channel(context, layout, axis % layout.rank)
    elif len(size) > 1:
        raise Opaque("it is quantised in blocks")
    if context.node.op_type == "QuantizeLinear" and context.is_weight(0):
        for field in layout.fields:
            # Shared out among copies of a channel, a weight would be rounded anew.
            context.mark_undivided(field.labels)
    context.output(layout)


def _data(context: Context) -> Layout:
    """The input; of a kernel [O, I, ...] only the first two axes can be channels."""
    value = context.value(0)
    if value is None or not context.is_parameter(0):
        return context.input(0)
    shape = constant_shape(value)
    axes = [k for k, n in enumerate(shape) if n > 1 or len(shape) > 2]
    return context.parameter(0, axes[:2] if len(shape) > 2 else axes, integers=True)


def _by_channel(context: Context, layout: Layout, axis: int) -> Layout:
    labels = context.project(layout, axis)
    for index in (1, 2):
        if context.value(index) is None:
            continue
        if labels is None and context.is_parameter(index):
            continue
        vector = context.parameter(index, (0,), integers=True) if context.is_parameter(index) else context.input(index)
        own = context.project(vector, 0)
        if labels is None:
            if own is not None:
                context.pin(own, "it meets values that are not channels")
        elif own is None:
            context.pin(labels, f"it is scaled by {vector.why or 'values that are not channels'}")
        elif own.size != labels.size:
            raise Opaque(f"{own.size} scales for {labels.size} channels")
        else:
            context.same(labels, own)
    return layout


@rule("DynamicQuantizeLinear")
def dynamic_quantize(context: Context) -> None:
    """x -> y, scale, zero point: the range always holds 0, so channels that are zero don't count."""
    layout = context.input(0)
    context.output(layout)
    for index in (1, 2):
        context.output(plain([], "a scale"), index)


@rule(*INTEGER_PRODUCTS, domain="com.microsoft")
@rule("QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger")
def integer_product(context: Context) -> None:
    """Products of integers keep the widths on both sides."""
    raise Opaque("its weights are quantised integers")


@rule("Conv", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", domain="com.microsoft.nchwc")
@rule("ReorderInput", "ReorderOutput", "Upsample", domain="com.microsoft.nchwc")
def blocked(context: Context) -> None:
    """What onnxruntime writes at its highest level: kernels in blocks of one processor's vectors, padded to them."""
    raise Opaque("onnxruntime optimised it for one processor: take the model from before, or of the level 'extended'")
