"""Inputs of a node beside its data: addends, tables, weights that take the data's channels."""

from __future__ import annotations

from collections.abc import Iterable

from chanc.analysis.context import Context
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Layout


def fixed(context: Context, layout: Layout, axes: Iterable[int], reason: str) -> Layout:
    """The layout with axes that keep their sizes."""
    for axis in axes:
        layout = context.fix(layout, axis, reason)
    return layout


def unlabelled(context: Context, index: int, reason: str) -> Layout | None:
    """An input whose axes all keep their sizes; None where it is left out."""
    if context.value(index) is None:
        return None
    layout = context.parameter(index, ()) if context.is_parameter(index) else context.input(index)
    return fixed(context, layout, range(layout.rank), reason)


def addend(context: Context, index: int, result: Layout) -> Layout:
    """The layout of an input that is broadcast to a result; a constant has labels where the result has channels."""
    if not context.is_parameter(index):
        return context.input(index)
    shape = context.initializer(index).shape
    varying = varying_from_right([result])
    return context.parameter(index, [k for k in range(len(shape)) if shape[k] != 1 and k - len(shape) in varying])


def adopted(context: Context, index: int, layout: Layout) -> bool:
    """Whether an input is one value a channel of an activation, or one for all, and needs no labels of its own.

    The input is a constant: an initializer.
    """
    shape = context.initializer(index).shape
    offset = layout.rank - len(shape)
    longer = [axis for axis, n in enumerate(shape) if n > 1]
    if offset < 0 or len(longer) > 1 or 0 in shape:
        return False
    if not longer:
        return True
    axis = longer[0]
    parts = layout.on(axis + offset)
    return len(parts) == 1 and len(parts[0].slots) == 1 and context.adopt(index, axis, parts[0].labels)


def varying_from_right(layouts: Iterable[Layout]) -> set[int]:
    """The axes along which any of the layouts has channels, counted from the right: -1 is the last."""
    return {axis - layout.rank for layout in layouts for field in layout.fields for axis in field.axes}


def consume(context: Context, data: Layout, axis: int, labels: IntArray) -> None:
    """The channels on that axis of an activation, the first input, are those that a weight's axis takes."""
    found = context.project(data, axis)
    if found is None:
        pin_taken(context, data, labels)
    else:
        context.same(labels, found)


def take_up(context: Context, data: Layout, axis: int, *, index: int, own: int) -> None:
    """The channels on that axis of an activation are those that axis `own` of an initializer input takes."""
    found = context.project(data, axis)
    if found is None or not context.adopt(index, own, found, "consumer"):
        weight = context.parameter(index, (own,))
        consume(context, data, axis, line(weight, own))
        context.mark(weight, own, "consumer")


def pin_taken(context: Context, data: Layout, labels: IntArray) -> None:
    """Pin the channels of a weight that takes the first input, which has none there."""
    value = context.value(0)
    name = (value.name or "") if value is not None else ""
    context.pin(labels, f"it takes {data.why or 'values that are not channels'}", tensor=name)


def line(weight: Layout, axis: int) -> IntArray:
    """The labels of a weight's axis: [size]; the array itself, not a view: axes that share one are looked at once."""
    labels = weight.on(axis)[0].labels
    return labels if labels.ndim == 1 else labels.ravel()
