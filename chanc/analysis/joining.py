"""Layouts joined along an axis: its labels are put one after the other; along all other axes the operands are one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chanc.analysis import dims
from chanc.analysis.context import Context
from chanc.analysis.dims import Dim, Size
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Field, Layout, Opaque, with_axes, without


def joined(context: Context, operands: Sequence[Layout], axis: int) -> Layout:
    """The layout of operands joined along an axis."""
    if not any(operand.on(axis) for operand in operands):
        total: Size = 0
        for operand in operands:
            total = dims.add(total, operand.size(axis))
        return with_axes(context.together([without(operand, axis) for operand in operands]), {axis: total})
    parts: list[IntArray] = []
    rests: dict[tuple[object, ...], Layout] = {}
    for number, operand in enumerate(operands):
        labels = context.project(operand, axis)
        if labels is None:
            size = operand.size(axis)
            if isinstance(size, Dim):
                raise Opaque("channels are joined with an axis of unknown size")
            labels = context.fresh(size)
            context.pin(labels, f"it is joined with {operand.why or 'values that are not channels'}")
        parts.append(labels)
        # Without channels on other axes, layouts of the same axes say nothing new.
        alone = len(operand.on(axis)) == len(operand.fields)
        key = (operand.axes[:axis], operand.axes[axis + 1 :]) if alone else (number,)
        if key not in rests:
            rests[key] = without(operand, axis)
    shared = context.together(list(rests.values()))
    context.chain(parts)
    labels = np.concatenate(parts)
    axes = list(shared.axes)
    axes[axis] = (labels.size,)
    return Layout(tuple(axes), (Field(((axis, 0),), labels), *shared.fields), shared.why)


def squared(context: Context, operands: list[Layout], axis: int) -> list[Layout]:
    """Along other axes a Concat doesn't broadcast: a channel axis of size 1 beside one without channels stays 1."""
    result = list(operands)
    if all(part.axes == (axis,) for operand in operands for part in operand.fields):
        return result
    for other in range(operands[0].rank):
        if other != axis and any(not operand.on(other) for operand in operands):
            result = [
                context.strip(o, other, "it is joined with values that are not channels")
                if o.on(other) and o.size(other) == 1 else o
                for o in result
            ]
    return result
