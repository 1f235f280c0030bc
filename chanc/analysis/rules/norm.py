"""Normalisations: per channel (exact), and across channels (inexact unless whole groups go).

BatchNormalization, InstanceNormalization, GroupNormalization, LayerNormalization, RMSNormalization, LRN,
LpNormalization, MeanVarianceNormalization, Softmax, LogSoftmax, Hardmax; onnxruntime's SkipLayerNormalization.
"""

from __future__ import annotations

from collections.abc import Iterable

from chanc.analysis.broadcast import bare
from chanc.analysis.context import Context
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.grouping import normalise, spread_rows
from chanc.analysis.layout import Layout, Opaque, drop_axes, insert_axes, plain, vector, with_axes
from chanc.analysis.operands import addend, adopted
from chanc.analysis.rules import rule


@rule("BatchNormalization")
def batch_norm(context: Context) -> None:
    """BatchNormalization: X [N, C, ...] with scale, bias, mean and variance [C]."""
    layout = context.input(0)
    labels = context.project(layout, 1) if layout.rank > 1 else None
    for index in range(1, 5):
        if labels is None or not context.adopt(index, 0, labels):
            _follow(context, index, labels)
    if layout.rank > 1 and _trains(context):
        normalise(context, layout, [0, *range(2, layout.rank)])
    context.output(layout)
    for index in range(1, len(context.node.outputs)):
        statistics = plain([layout.size(1)]) if labels is None else vector(labels, 0, [labels.size])
        context.output(statistics, index)


def _trains(context: Context) -> bool:
    """Whether the statistics are those of the data: an attribute from opset 14 on, before it the outputs tell."""
    if context.opset >= 14:
        return bool(context.integer("training_mode", 0))
    return not context.integer("is_test", 0) if context.opset < 7 else len(context.node.outputs) > 1


@rule("InstanceNormalization")
def instance_norm(context: Context) -> None:
    """InstanceNormalization: each channel of X [N, C, ...] by its own statistics, scale and bias [C]."""
    layout = context.input(0)
    labels = context.project(layout, 1)
    for index in (1, 2):
        _follow(context, index, labels)
    normalise(context, layout, range(2, layout.rank))
    context.output(layout)


@rule("GroupNormalization")
def group_norm(context: Context) -> None:
    """GroupNormalization: X [N, C, ...] in `num_groups` groups; scale and bias a group (opset 18) or a channel (21)."""
    layout = context.input(0)
    groups = context.integer("num_groups", 1)
    labels = context.project(layout, 1)
    if labels is not None and (groups < 1 or labels.size % groups):
        raise Opaque(f"{groups} groups don't divide its channels")
    by_group = labels.reshape(groups, -1)[:, 0] if labels is not None and groups > 1 else None
    for index in (1, 2):
        value = context.value(index)
        size = value.const_value.shape[0] if value is not None and value.const_value is not None else None
        if labels is not None and size == groups != labels.size:
            _follow(context, index, by_group)
        else:
            _follow(context, index, labels)
    if labels is not None:
        group_rows(context, labels, groups)
    context.output(layout)


def group_rows(context: Context, labels: IntArray, groups: int) -> None:
    """Whole norm groups go, which is exact; with a single group any channel may go, which is not."""
    if groups > 1:
        spread_rows(context, labels, groups)
    else:
        context.mark_inexact(labels, "a normalisation across channels")


@rule("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer_norm(context: Context) -> None:
    """LayerNormalization, RMSNormalization: over the axes from `axis` on, with scale and bias of those axes."""
    layout = context.input(0)
    axis = context.integer("axis", -1) % layout.rank
    layout = _scaled(context, layout, (1, 2))
    normalise(context, layout, range(axis, layout.rank))
    context.output(layout)


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain="com.microsoft")
def skip_layer_norm(context: Context) -> None:
    """LayerNorm of X + skip + bias over the last axis, with scale and shift; output 3 is the sum."""
    layout = context.input(0)
    layout = context.together([layout, addend(context, 1, layout)])
    layout = _scaled(context, layout, range(2, len(context.node.inputs)))
    normalise(context, layout, [layout.rank - 1])
    context.output(layout)
    if len(context.node.outputs) > 3:
        context.output(layout, 3)


@rule("EmbedLayerNormalization", domain="com.microsoft")
def embed_layer_norm(context: Context) -> None:
    """LayerNorm of the sum of vectors from tables [rows, C] of words, positions and segments; output 2 is the sum."""
    ids = context.input(0)
    tables = []
    for index in (2, 3, 4):
        if context.value(index) is not None:
            table = context.parameter(index, (1,)) if context.is_parameter(index) else context.input(index)
            context.mark(table, 1, "producer")
            tables.append(insert_axes(drop_axes(context.fix(table, 0, "it is looked up"), [0]), [0, 1]))
    sizes = {axis: ids.size(axis) for axis in range(ids.rank)}
    layout = _scaled(context, with_axes(context.together(tables), sizes), (5, 6))
    normalise(context, layout, [layout.rank - 1])
    context.output(layout)
    if len(context.node.outputs) > 1:
        context.output(plain([ids.size(0)], "a count"), 1)
    if len(context.node.outputs) > 2:
        context.output(layout, 2)


def _scaled(context: Context, layout: Layout, indices: Iterable[int]) -> Layout:
    """A layout with vectors along its last axes; constant ones have labels where it has channels."""
    operands = [layout]
    for index in indices:
        if context.value(index) is None:
            continue
        if context.is_parameter(index) and bare(layout) and adopted(context, index, layout):
            continue
        if context.is_parameter(index):
            shape = context.initializer(index).shape
            offset = layout.rank - len(shape)
            axes = [k for k, n in enumerate(shape) if n > 1 and layout.on(k + offset)]
            operands.append(context.parameter(index, axes))
        else:
            operands.append(context.input(index))
    return context.together(operands)


@rule("Softmax", "LogSoftmax", "Hardmax")
def softmax(context: Context) -> None:
    """Softmax over one axis; before opset 13 over all axes from `axis` on."""
    layout = context.input(0)
    axis = context.integer("axis", -1 if context.opset >= 13 else 1) % layout.rank
    normalise(context, layout, [axis] if context.opset >= 13 else range(axis, layout.rank))
    context.output(layout)


@rule("LRN")
def lrn(context: Context) -> None:
    """LRN: each channel by the sum of squares of its neighbours."""
    layout = context.input(0)
    normalise(context, layout, [1])
    context.output(layout)


@rule("LpNormalization")
def lp_norm(context: Context) -> None:
    """LpNormalization along one axis; dropped channels that are zero don't count, others would."""
    layout = context.input(0)
    normalise(context, layout, [context.integer("axis", -1) % layout.rank])
    context.output(layout)


@rule("MeanVarianceNormalization")
def mean_variance_norm(context: Context) -> None:
    """MeanVarianceNormalization over the axes given."""
    layout = context.input(0)
    normalise(context, layout, context.integer_list("axes", [0, 2, 3]) or [])
    context.output(layout)


def _follow(context: Context, index: int, labels: IntArray | None) -> None:
    """A vector of one value a channel."""
    if labels is not None and context.adopt(index, 0, labels):
        return
    if context.value(index) is None or (labels is None and context.is_parameter(index)):
        return
    vector = context.parameter(index, (0,)) if context.is_parameter(index) else context.input(index)
    own = context.project(vector, 0)
    if own is None:
        if labels is not None:
            context.pin(labels, f"it takes {vector.why or 'values that are not channels'} a channel")
    elif labels is None:
        context.pin(own, "it meets values that are not channels")
    elif own.size != labels.size:
        raise Opaque(f"{own.size} values for {labels.size} channels")
    else:
        context.same(labels, own)
