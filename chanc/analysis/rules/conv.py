"""Convolutions (ONNX Conv, ConvTranspose; FusedConv): input channels are consumed, output channels are made.

Grouped: the input is seen as [groups, channels of a group], the output likewise, and a whole column goes at once, so
`group` stays. Depthwise, and wherever a group has a single channel, whole rows go: `group` follows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from chanc.analysis.context import Context
from chanc.analysis.dims import Dim, Size, multiply, unknown, window
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.grouping import spread, spread_rows
from chanc.analysis.layout import CHANNELS, Factors, Field, Layout, Opaque, factors_of, plain
from chanc.analysis.operands import addend, consume, line, pin_taken, take_up
from chanc.analysis.rules import rule
from chanc.analysis.windows import padding


@rule("Conv")
def conv(context: Context) -> None:
    """Conv: X [N, C, ...], W [O, C/group, ...], B [O] -> [N, O, ...]."""
    _convolve(context, bias=2)


@rule("FusedConv", domain="com.microsoft")
def fused_conv(context: Context) -> None:
    """FusedConv: a Conv, then an addend Z like the output, then an activation."""
    _convolve(context, bias=2)
    if context.value(3) is not None:
        result = context.findings.layouts[context.node.outputs[0]]
        context.output(context.together([result, addend(context, 3, result)]))


@rule("DeformConv")
def deform_conv(context: Context) -> None:
    """DeformConv: X, W, offsets [N, 2 * kernel, ...], B, mask [N, kernel, ...]; one group of offsets for all."""
    for index in (2, 4):
        if context.value(index) is not None and not context.is_parameter(index):
            offsets = context.input(index)
            for axis in range(offsets.rank):
                offsets = context.fix(offsets, axis, "its values are positions")
    if context.integer("offset_group", 1) != 1:
        raise Opaque("its channels are sampled in groups")
    context.fix(context.input(0), 0, "each is sampled at places of its own")
    _convolve(context, bias=3)


def _convolve(context: Context, bias: int) -> None:
    group = context.integer("group", 1)
    data, (made, taken, (outer, inner), kernel) = _operands(context, group)
    _check(data, inner * group, outer, group)
    if made is None:
        # A kernel a channel: the channels stay what they are, but for kernels with labels of their own.
        found = context.project(data, 1)
        if found is not None and context.adopt(1, 0, found):
            _finish(context, data, found, kernel, bias=bias)
            return
        made = context.labels(1, 0)
        if made is None:
            raise Opaque("its weight isn't floating point")
    context.mark_labels(made, "producer")
    if taken is not None and group == 1:
        consume(context, data, 1, taken)
        context.mark_labels(taken, "consumer")
    elif group == 1:
        take_up(context, data, 1, index=1, own=1)
    elif taken is None:
        _rows(context, data, made, group)
        if outer == group and inner == 1:
            context.mark_labels(made, "follower")
    else:
        _columns(context, data, taken, group)
        spread(context, made, group)
        context.mark_labels(taken, "consumer")
    _finish(context, data, made, kernel, bias=bias)


@rule("ConvTranspose")
def conv_transpose(context: Context) -> None:
    """ConvTranspose: X [N, C, ...], W [C, O/group, ...], B [O] -> [N, O, ...]."""
    group = context.integer("group", 1)
    data, (taken, own, (outer, inner), kernel) = _operands(context, group)
    _check(data, outer, inner * group, group)
    assert taken is not None
    consume(context, data, 1, taken)
    if own is None:
        made = context.fresh(inner * group)
        spread_rows(context, taken, group)
        _rows_of(context, made, taken, group)
        context.mark_labels(taken, "follower" if outer == inner * group else "producer")
    else:
        context.mark_labels(own, "producer")
        context.mark_labels(taken, "consumer")
        made = own if group == 1 else _columns_of(context, taken, own, group)
    _finish(context, data, made, kernel, bias=2, transposed=True)


def _columns_of(context: Context, taken: IntArray, own: IntArray, group: int) -> IntArray:
    """What a transposed convolution in groups makes: channel j of every group is made by column j of the weight."""
    made = context.fresh(own.size * group)
    spread(context, taken, group)
    context.couple(made.reshape(group, -1), own[None, :])
    context.cut(made, group, 1)
    context.beside(own, made.reshape(group, -1).T)
    context.row(made[: own.size], "one unit fills its groups")
    return made


class _Weight(NamedTuple):
    """The labels on the channel axes of a weight, None where its sizes stay or are the input's; its sizes."""

    first: IntArray | None
    second: IntArray | None
    channels: tuple[int, int]
    kernel: Sequence[Size]


def _operands(context: Context, group: int) -> tuple[Layout, _Weight]:
    """Data with fixed spatial axes, and a weight with labels on the channel axes that can change.

    Where whole groups go the second axis of the weight keeps its size. A Conv in one group takes up its inputs itself,
    and so does a depthwise one, whose weight has no labels here.
    """
    data = _data(context, group)
    for axis in () if data.usual else _varying(data):
        if not _slides(context, data, axis):
            data = context.fix(data, axis, "it varies along a spatial axis of a convolution")
    weight = _stored(context, group) if context.is_parameter(1) else _computed(context, group)
    if data.rank < 3 or weight is None:
        if context.value(1) in context.findings.fed:
            raise Opaque("its weight is an input that a caller may feed")
        raise Opaque("its weight is computed from activations, or isn't floating point")
    return data, weight


def _varying(data: Layout) -> Collection[int]:
    """The spatial axes along which channels lie."""
    return {slot[0] for field in data.fields for slot in field.slots if slot[0] > 1}


def _stored(context: Context, group: int) -> _Weight | None:
    """A weight that is an initializer; None where its type has no channels."""
    outer, inner, *kernel = context.initializer(1).shape
    rows = group > 1 and _whole_rows(context, outer, inner, group)
    turned = context.node.op_type == "ConvTranspose"
    if rows and outer == group and inner == 1 and not turned:
        return _Weight(None, None, (outer, inner), kernel)
    first = context.labels(1, 0)
    if first is None:
        return None
    second = context.labels(1, 1) if not rows and (group > 1 or turned) else None
    return _Weight(first, second, (outer, inner), kernel)


def _computed(context: Context, group: int) -> _Weight | None:
    """A weight that is computed; None where its channels aren't understood."""
    weight = context.input(1)
    for axis in range(2, weight.rank):
        weight = context.fix(weight, axis, "it varies along a kernel axis")
    outer, inner = (int(str(n)) if not isinstance(n, Dim) else 0 for n in weight.sizes[:2])
    axes: tuple[int, ...] = (0, 1)
    if group > 1 and _whole_rows(context, outer, inner, group):
        weight = context.fix(weight, 1, "whole groups go")
        axes = (0,)
    weight = _single(context, weight, axes)
    if any(len(weight.on(k)) != 1 or len(weight.axes[k]) != 1 for k in axes):
        return None
    if len(axes) == 2 and weight.on(0) == weight.on(1):
        raise Opaque("its weight is computed from activations")
    second = line(weight, 1) if len(axes) == 2 else None
    return _Weight(line(weight, 0), second, (outer, inner), weight.sizes[2:])


def _whole_rows(context: Context, outer: int, inner: int, group: int) -> bool:
    """Whether whole groups go; else a channel of every group does."""
    return context.mode("rows" if inner == 1 or outer == group else "columns") == "rows"


def _single(context: Context, weight: Layout, axes: tuple[int, ...]) -> Layout:
    """A computed weight whose axes of one channel have a label, which stays."""
    for axis in axes:
        if context.is_weight(1) and not weight.on(axis) and weight.size(axis) == 1:
            label = context.fresh(1)
            context.pin(label, "it is a single channel of a computed weight")
            factors = tuple((1,) if k == axis else old for k, old in enumerate(weight.axes))
            weight = Layout(factors, (*weight.fields, Field(((axis, 0),), label)), weight.why)
    return weight


def _slides(context: Context, data: Layout, axis: int) -> bool:
    """Whether channels lie along a spatial axis that keeps its size (ECA-Net): each is mixed with its neighbours."""
    if not data.on(axis):
        return False
    count, size = data.rank - 2, data.size(axis)
    pure = all(field.axes == (axis,) for field in data.on(axis)) and len(data.axes[axis]) == 1
    weight = context.value(1)
    if not pure or weight is None or weight.const_value is None or not isinstance(size, int):
        return False
    kernel = context.initializer(1).shape[axis]
    stride = (context.integer_list("strides", [1] * count) or [1] * count)[axis - 2]
    dilation = (context.integer_list("dilations", [1] * count) or [1] * count)[axis - 2]
    same = stride == 1 and padding(context, axis - 2, count, size, kernel) == dilation * (kernel - 1)
    if same and context.node.op_type == "Conv":
        for field in data.on(axis):
            context.mark_inexact(field.labels, "a convolution across channels")
        return True
    return False


def _data(context: Context, group: int) -> Layout:
    """The layout of X; where nothing is known of its shape, the rank and the channels are the weight's."""
    value, findings = context.value(0), context.findings
    known = value is None or value in findings.layouts
    if value is None or known or value.const_value is not None or not context.is_parameter(1):
        data = context.input(0)
        if value in findings.weights or (not known and context.is_parameter(0)):
            context.mark(data, 1, "producer")
        return data
    outer, inner, *kernel = context.parameter(1, ()).sizes
    taken = outer if context.node.op_type == "ConvTranspose" else multiply(inner, group)
    sizes = [unknown(f"{value.name}.{k}") for k in range(len(kernel) + 2)]
    return plain([sizes[0], taken, *sizes[2:]], f"'{value.name}', whose shape is not known")


def _check(data: Layout, given: int, made: int, group: int) -> None:
    size = data.size(1)
    if isinstance(size, int) and size != given:
        raise Opaque(f"its weight takes {given} channels but its input has {size}")
    if group < 1 or given % group or made % group:
        raise Opaque(f"{group} groups don't divide its channels")


def _rows(context: Context, data: Layout, made: IntArray, group: int) -> None:
    """A whole group goes: its input channels and its output channels."""
    found = context.project(data, 1)
    if found is None:
        pin_taken(context, data, made)
    elif found.size == made.size == group:
        context.same(made, found)
    else:
        _rows_of(context, made, found, group)
        spread_rows(context, found, group)


def _rows_of(context: Context, made: IntArray, found: IntArray, group: int) -> None:
    """Row g of what is made, seen as [group, columns], goes with row g of what is found."""
    context.couple(made.reshape(group, -1), found.reshape(group, -1)[:, :1])
    context.cut(made, group, 0)
    context.beside(made.reshape(group, -1), found.reshape(group, -1))


def _columns(context: Context, data: Layout, given: IntArray, group: int) -> None:
    """Channel j of every group goes at once."""
    found = context.project(data, 1)
    if found is None:
        pin_taken(context, data, given)
        return
    columns = found.reshape(group, -1)
    spread(context, found, group)
    context.same(given, columns[0])


def _finish(
    context: Context, data: Layout, made: IntArray, kernel: Sequence[Size], *, bias: int, transposed: bool = False
) -> None:
    """Set the output: batch factors and fields of the data, the made channels, spatial sizes."""
    if context.value(bias) is not None and not context.adopt(bias, 0, made):
        vector = context.parameter(bias, (0,)) if context.is_parameter(bias) else context.input(bias)
        labels = context.project(vector, 0)
        if labels is None or labels.size != made.size:
            context.pin(made, "its bias is not understood")
        else:
            context.same(labels, made)
    spatial = _spatial(context, data, kernel, () if data.usual else _varying(data), transposed)
    axes: tuple[Factors, ...] = (data.axes[0], (made.size,), *spatial)
    batch = () if data.usual else tuple(f for f in data.fields if not f.on(1))
    context.output(Layout(axes, (Field(CHANNELS, made), *batch)))


def _spatial(
    context: Context, data: Layout, kernel: Sequence[Size], varying: Collection[int], transposed: bool
) -> list[Factors]:
    """The spatial axes of the output; those along which channels lie (`varying`) are as they were."""
    count = data.rank - 2
    strides = context.integer_list("strides") or [1] * count
    dilations = context.integer_list("dilations") or [1] * count
    pads = context.integer_list("pads") or [0] * 2 * count
    free = context.attribute("auto_pad", "NOTSET") != "NOTSET"
    result: list[Factors] = []
    for k in range(count):
        size, span = data.size(k + 2), kernel[k]
        if k + 2 in varying:
            result.append(data.axes[k + 2])
        elif transposed or not isinstance(span, int):
            result.append(factors_of(_declared(context, k + 2) or context.unknown_size(k + 2)))
        else:
            pad = padding(context, k, count, size, span) if free else pads[k] + pads[k + count]
            result.append(factors_of(window(size, span, strides[k], dilations[k], pad)))
    return result


def _declared(context: Context, axis: int) -> Size | None:
    shape = context.node.outputs[0].shape
    found = shape[axis] if shape is not None and len(shape) > axis else None
    return found if isinstance(found, int) and found > 0 else None
