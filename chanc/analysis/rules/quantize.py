"""Quantisation (ONNX QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear) and products of quantised integers.

Scale and zero point, where there is one a channel, follow along `axis`; where there is one a block, whole blocks go.
Integer weights behind a DequantizeLinear are channels like others. Products of integers: `rules/integers.py`.
"""

from __future__ import annotations

from chanc.analysis.context import Context
from chanc.analysis.layout import Layout, Opaque, plain
from chanc.analysis.operands import line
from chanc.analysis.quantised import by_channel, whole_blocks
from chanc.analysis.rules import rule
from chanc.ir.initializers import constant_shape


@rule("QuantizeLinear", "DequantizeLinear", domain="com.microsoft")
@rule("QuantizeLinear", "DequantizeLinear")
def quantize(context: Context) -> None:
    """x, scale and zero point of one value, of one a position of `axis`, or of one a block along it."""
    layout = _data(context)
    axis = context.integer("axis", 1)
    if context.integer("block_size", 0):
        _by_block(context, layout, axis % layout.rank)
    else:
        by_channel(context, layout, axis % layout.rank if layout.rank else 0, (1, 2))
    if context.is_weight(0):
        _mark_weight(context, layout)
    context.output(layout)


def _mark_weight(context: Context, layout: Layout) -> None:
    """A quantised weight: what is shared out among copies of a channel would be rounded anew."""
    zero = context.value(2)
    if context.node.op_type == "QuantizeLinear":
        for field in layout.fields:
            context.mark_undivided(field.labels)
    elif zero is not None and zero.const_value is None:
        # What stands for 0 can't be stored.
        context.findings.bent[context.node.outputs[0]] = f"the zero point '{zero.name}' is computed"


def _data(context: Context) -> Layout:
    """The input; of a kernel [O, I, ...] only the first two axes can be channels."""
    value = context.value(0)
    if value is None or not context.is_parameter(0):
        return context.input(0)
    shape = constant_shape(value)
    axes = [k for k, n in enumerate(shape) if n > 1 or len(shape) > 2]
    return context.parameter(0, axes[:2] if len(shape) > 2 else axes, integers=True)


def _by_block(context: Context, layout: Layout, axis: int) -> None:
    """Scale and zero point of the data's rank: along `axis` one for each block, which goes as a whole."""
    labels = [context.project(layout, k) for k in range(layout.rank)]
    for index in (1, 2):
        if context.value(index) is None:
            continue
        shape = context.initializer(index).shape if context.is_parameter(index) else ()
        if len(shape) != layout.rank:
            raise Opaque("it is quantised in blocks, by scales that aren't constants")
        known = [k for k, line in enumerate(labels) if line is not None]
        blocks = context.parameter(index, known, integers=True)
        for k in known:
            own, mine = line(blocks, k), labels[k]
            assert mine is not None
            if k != axis:
                context.same(own, mine)
            elif own.size == 1 or mine.size % own.size:
                context.pin(mine, "it is quantised in blocks that don't divide it")
                context.pin(own, "it is quantised in blocks that don't divide it")
            else:
                whole_blocks(context, mine, own, own.size)


@rule("DynamicQuantizeLinear")
def dynamic_quantize(context: Context) -> None:
    """x -> y, scale, zero point: the range always holds 0, so channels that are zero don't count."""
    layout = context.input(0)
    context.output(layout)
    for index in (1, 2):
        context.output(plain([], "a scale"), index)


@rule("MatMulBnb4", domain="com.microsoft")
def packed(context: Context) -> None:
    """Weights in an order of their own keep the widths on both sides."""
    raise Opaque("its weights are packed integers")


@rule("Conv", "MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", domain="com.microsoft.nchwc")
@rule("ReorderInput", "ReorderOutput", "Upsample", domain="com.microsoft.nchwc")
def blocked(context: Context) -> None:
    """What onnxruntime writes at its highest level: kernels in blocks of one processor's vectors, padded to them."""
    raise Opaque("onnxruntime optimised it for one processor: take the model from before, or of the level 'extended'")
