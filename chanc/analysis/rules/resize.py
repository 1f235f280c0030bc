"""Operators that make an axis longer or shorter (ONNX Pad, Resize, Upsample)."""

from __future__ import annotations

import numpy as np

from chanc.analysis import dims
from chanc.analysis.context import Context
from chanc.analysis.dims import Dim, Size
from chanc.analysis.evaluate import folded
from chanc.analysis.layout import Field, Layout, Opaque, factors_of, with_axes, without
from chanc.analysis.rules import rule


@rule("Pad")
def pad(context: Context) -> None:
    """Pad: constant channels before and after are channels of their own; a negative pad crops."""
    layout = context.input(0)
    certain = {axis for axis, *ends in pad_amounts(context, layout.rank, certain=True) if not _unknown(ends)}
    for axis, before, after in pad_amounts(context, layout.rank):
        size = layout.size(axis)
        if not layout.on(axis):
            axes = list(layout.axes)
            axes[axis] = factors_of(dims.add(size, dims.add(before, after)))
            layout = Layout(tuple(axes), layout.fields, layout.why)
            continue
        if axis not in certain or isinstance(size, Dim) or isinstance(before, Dim) or isinstance(after, Dim):
            layout = context.fix(layout, axis, "channels are padded by an unknown number")
            layout = with_axes(layout, {axis: dims.add(size, dims.add(before, after))})
            continue
        if before or after:
            if context.attribute("mode", "constant") != "constant":
                raise Opaque("channels are padded with one another")
            layout = _padded(context, layout, axis, before, after)
    context.output(layout)


def _unknown(sizes: list[Size]) -> bool:
    return any(isinstance(size, Dim) for size in sizes)


def _padded(context: Context, layout: Layout, axis: int, before: int, after: int) -> Layout:
    labels = context.project(layout, axis)
    assert labels is not None
    labels = labels[max(-before, 0) : labels.size - max(-after, 0)]
    ends = [context.fresh(max(before, 0)), labels, context.fresh(max(after, 0))]
    full = np.concatenate(ends)
    context.chain(ends)
    rest = without(layout, axis)
    axes = list(rest.axes)
    axes[axis] = (full.size,)
    return Layout(tuple(axes), (Field(((axis, 0),), full), *rest.fields), layout.why)


def pad_amounts(context: Context, rank: int, certain: bool = False) -> list[tuple[int, Size, Size]]:
    """(axis, before, after) of each padded axis; Opaque where not even their number is known."""
    given = context.integer_list("pads") or context.integer_list("paddings")
    if given is None:
        amounts = context.numbers(1, certain)
        axes = context.integers(3)
    else:
        amounts, axes = list(given), None
    axes = [axis % rank for axis in axes] if axes is not None else list(range(rank))
    half = len(amounts) // 2
    return [(axis, amounts[k], amounts[k + half]) for k, axis in enumerate(axes)]


@rule("Resize", "Upsample")
def resize(context: Context) -> None:
    """Resize, Upsample: spatial axes change, a channel axis keeps its size."""
    layout = context.input(0)
    axes = context.integer_list("axes")
    axes = [axis % layout.rank for axis in axes] if axes is not None else list(range(layout.rank))
    scales, sizes = _scales(context), _sizes(context)
    for k, axis in enumerate(axes):
        size = layout.size(axis)
        new: Size = context.unknown_size(axis)
        if sizes is not None:
            new = sizes[k]
        elif scales is not None and (scales[k] == 1 or isinstance(size, int)):
            new = size if scales[k] == 1 or isinstance(size, Dim) else int(size * scales[k])
        if layout.on(axis):
            if new == size:
                continue
            layout = context.strip(layout, axis, "it is resized")
        changed = list(layout.axes)
        changed[axis] = factors_of(new)
        layout = Layout(tuple(changed), layout.fields, layout.why)
    context.output(layout)


def _scales(context: Context) -> list[float] | None:
    given = context.attribute("scales")
    if isinstance(given, (list, tuple)):
        return [float(n) for n in given]
    at = 1 if context.node.op_type == "Upsample" or len(context.node.inputs) == 2 else 2
    known = context.constant(at)
    if known is None and (value := context.value(at)) is not None:
        known = folded(value)
    if known is None or known.size == 0 or known.dtype == object:
        return None
    return [float(n) for n in known.ravel().tolist()]


def _sizes(context: Context) -> list[Size] | None:
    known = context.constant(3)
    return None if known is None or known.size == 0 else known.ravel().tolist()
