"""Normalisations: per channel (exact), and across channels (inexact unless whole groups go).

BatchNormalization, InstanceNormalization, GroupNormalization, LayerNormalization, RMSNormalization, LRN,
LpNormalization, MeanVarianceNormalization, Softmax, LogSoftmax, Hardmax; onnxruntime's SkipLayerNormalization.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Layout, Opaque, plain, vector
from chanc.analysis.rules import rule
from chanc.analysis.rules.conv import spread_rows
from chanc.analysis.rules.elementwise import addend
from chanc.analysis.sweep import Sweep
from chanc.ir.initializers import constant_shape


@rule("BatchNormalization")
def batch_norm(sweep: Sweep) -> None:
    """BatchNormalization: X [N, C, ...] with scale, bias, mean and variance [C]."""
    layout = sweep.input(0)
    labels = sweep.project(layout, 1) if layout.rank > 1 else None
    for index in range(1, 5):
        _follow(sweep, index, labels)
    assert sweep.node is not None
    if layout.rank > 1 and _trains(sweep):
        normalise(sweep, layout, [0, *range(2, layout.rank)])
    sweep.output(layout)
    for index in range(1, len(sweep.node.outputs)):
        statistics = plain([layout.size(1)]) if labels is None else vector(labels, 0, [labels.size])
        sweep.output(statistics, index)


def _trains(sweep: Sweep) -> bool:
    """Whether the statistics are those of the data: an attribute from opset 14 on, before it the outputs tell."""
    assert sweep.node is not None
    if sweep.opset >= 14:
        return bool(sweep.integer("training_mode", 0))
    return not sweep.integer("is_test", 0) if sweep.opset < 7 else len(sweep.node.outputs) > 1


@rule("InstanceNormalization")
def instance_norm(sweep: Sweep) -> None:
    """InstanceNormalization: each channel of X [N, C, ...] by its own statistics, scale and bias [C]."""
    layout = sweep.input(0)
    labels = sweep.project(layout, 1)
    for index in (1, 2):
        _follow(sweep, index, labels)
    normalise(sweep, layout, range(2, layout.rank))
    sweep.output(layout)


@rule("GroupNormalization")
def group_norm(sweep: Sweep) -> None:
    """GroupNormalization: X [N, C, ...] in `num_groups` groups; scale and bias a group (opset 18) or a channel (21)."""
    layout = sweep.input(0)
    groups = sweep.integer("num_groups", 1)
    labels = sweep.project(layout, 1)
    if labels is not None and (groups < 1 or labels.size % groups):
        raise Opaque(f"{groups} groups don't divide its channels")
    by_group = labels.reshape(groups, -1)[:, 0] if labels is not None and groups > 1 else None
    for index in (1, 2):
        value = sweep.value(index)
        size = value.const_value.shape[0] if value is not None and value.const_value is not None else None
        if labels is not None and size == groups != labels.size:
            _follow(sweep, index, by_group)
        else:
            _follow(sweep, index, labels)
    if labels is not None:
        group_rows(sweep, labels, groups)
    sweep.output(layout)


def group_rows(sweep: Sweep, labels: IntArray, groups: int) -> None:
    """Whole norm groups go, which is exact; with a single group any channel may go, which is not."""
    if groups > 1:
        spread_rows(sweep, labels, groups)
    else:
        sweep.mark_inexact(labels, "a normalisation across channels")


@rule("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer_norm(sweep: Sweep) -> None:
    """LayerNormalization, RMSNormalization: over the axes from `axis` on, with scale and bias of those axes."""
    assert sweep.node is not None
    layout = sweep.input(0)
    axis = sweep.integer("axis", -1) % layout.rank
    layout = _scaled(sweep, layout, (1, 2))
    normalise(sweep, layout, range(axis, layout.rank))
    sweep.output(layout)


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain="com.microsoft")
def skip_layer_norm(sweep: Sweep) -> None:
    """LayerNorm of X + skip + bias over the last axis, with scale and shift; output 3 is the sum."""
    assert sweep.node is not None
    layout = sweep.input(0)
    layout = sweep.together([layout, addend(sweep, 1, layout)])
    layout = _scaled(sweep, layout, range(2, len(sweep.node.inputs)))
    normalise(sweep, layout, [layout.rank - 1])
    sweep.output(layout)
    if len(sweep.node.outputs) > 3:
        sweep.output(layout, 3)


def _scaled(sweep: Sweep, layout: Layout, indices: Iterable[int]) -> Layout:
    """A layout with vectors along its last axes; constant ones have labels where it has channels."""
    operands = [layout]
    for index in indices:
        if sweep.value(index) is None:
            continue
        if sweep.is_parameter(index):
            shape = _shape(sweep, index)
            offset = layout.rank - len(shape)
            operands.append(sweep.parameter(index, [k for k, n in enumerate(shape) if n > 1 and layout.on(k + offset)]))
        else:
            operands.append(sweep.input(index))
    return sweep.together(operands)


@rule("Softmax", "LogSoftmax", "Hardmax")
def softmax(sweep: Sweep) -> None:
    """Softmax over one axis; before opset 13 over all axes from `axis` on."""
    layout = sweep.input(0)
    axis = sweep.integer("axis", -1 if sweep.opset >= 13 else 1) % layout.rank
    normalise(sweep, layout, [axis] if sweep.opset >= 13 else range(axis, layout.rank))
    sweep.output(layout)


@rule("LRN")
def lrn(sweep: Sweep) -> None:
    """LRN: each channel by the sum of squares of its neighbours."""
    layout = sweep.input(0)
    normalise(sweep, layout, [1])
    sweep.output(layout)


@rule("LpNormalization")
def lp_norm(sweep: Sweep) -> None:
    """LpNormalization along one axis; dropped channels that are zero don't count, others would."""
    layout = sweep.input(0)
    normalise(sweep, layout, [sweep.integer("axis", -1) % layout.rank])
    sweep.output(layout)


@rule("MeanVarianceNormalization")
def mean_variance_norm(sweep: Sweep) -> None:
    """MeanVarianceNormalization over the axes given."""
    layout = sweep.input(0)
    normalise(sweep, layout, sweep.integer_list("axes", [0, 2, 3]) or [])
    sweep.output(layout)


def normalise(sweep: Sweep, layout: Layout, axes: Sequence[int]) -> None:
    """Statistics over `axes`: rows that lie in them go as a whole, else the result is inexact."""
    inside = set(axes)
    for field in layout.fields:
        gone = [k for k, slot in enumerate(field.slots) if slot[0] in inside]
        kept = [k for k, slot in enumerate(field.slots) if slot[0] not in inside and field.labels.shape[k] > 1]
        if not gone:
            continue
        if kept:
            ones = [k for k in range(len(field.slots)) if k not in gone and k not in kept]
            rows = field.labels.transpose([*ones, *kept, *gone]).reshape(
                [field.labels.shape[k] for k in (*ones, *kept)] + [-1]
            )
            sweep.couple(rows, rows[..., :1])
        else:
            sweep.mark_inexact(field.labels, "a normalisation across channels")


def _follow(sweep: Sweep, index: int, labels: IntArray | None) -> None:
    """A vector of one value a channel."""
    if sweep.value(index) is None:
        return
    if sweep.is_parameter(index) and (labels is None or sweep.adopt(index, 0, labels)):
        return
    vector = sweep.parameter(index, (0,)) if sweep.is_parameter(index) else sweep.input(index)
    own = sweep.project(vector, 0)
    if own is None:
        if labels is not None:
            sweep.pin(labels, f"it takes {vector.why or 'values that are not channels'} a channel")
    elif labels is None:
        sweep.pin(own, "it meets values that are not channels")
    elif own.size != labels.size:
        raise Opaque(f"{own.size} values for {labels.size} channels")
    else:
        sweep.same(labels, own)


def _shape(sweep: Sweep, index: int) -> tuple[int, ...]:
    value = sweep.value(index)
    return constant_shape(value) if value is not None else ()
