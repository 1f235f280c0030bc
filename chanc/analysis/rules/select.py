"""Operators that join channels or take some of them (ONNX Concat, Split, Slice, Gather, GatherND, ScatterND)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from chanc.analysis import dims
from chanc.analysis.context import Context
from chanc.analysis.dims import Dim, Size
from chanc.analysis.evaluate import onnx_slice
from chanc.analysis.joining import joined, squared
from chanc.analysis.layout import Factors, Field, Layout, Opaque, drop_axes, factors_of, plain, take, without
from chanc.analysis.rules import rule
from chanc.analysis.strided import View, find_view, viewed
from chanc.ir.initializers import constant_shape


@rule("Concat")
def concat(context: Context) -> None:
    """Concat: the labels of one axis put one after the other; along all other axes the inputs are one."""
    rank = context.rank(0)
    axis = context.integer("axis", 1) % rank
    operands = [_operand(context, k, axis) for k in range(len(context.inputs))]
    _tie_phases(context, operands, axis)
    operands = squared(context, operands, axis)
    context.output(joined(context, operands, axis))


def _operand(context: Context, index: int, axis: int) -> Layout:
    """An input; a constant has labels everywhere, and makes channels of its own on the joined axis."""
    layout = context.input(index)
    if context.is_parameter(index):
        context.mark(layout, axis, "producer")
    return layout


def _tie_phases(context: Context, operands: Sequence[Layout], axis: int) -> None:
    """Couple the halves of a FactorizedReduce (DARTS): strided convolutions that sample alternate pixels are one width.

    They are told by a kernel smaller than the stride: each sees only what the other leaves out.
    """
    if len(operands) < 2 or not all(map(_skips_pixels, context.inputs)):
        return
    labels = [operand.on(axis)[0].labels.ravel() for operand in operands if len(operand.on(axis)) == 1]
    if len(labels) == len(operands) and len({part.size for part in labels}) == 1:
        for part in labels[1:]:
            context.couple(labels[0], part)


def _skips_pixels(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "Conv":
        return False
    strides, kernel = node.attributes.get("strides"), node.attributes.get("kernel_shape")
    if strides is None or kernel is None:
        return False
    return all(k < s for k, s in zip(kernel.as_ints(), strides.as_ints(), strict=True))


@rule("Split")
def split(context: Context) -> None:
    """Split: parts of an axis, by the sizes given or evenly (the last one smaller)."""
    layout = context.input(0)
    axis = context.integer("axis", 0) % layout.rank
    sizes = split_sizes(context, layout.size(axis))
    if len(sizes) != len(context.node.outputs) or not _adds_up(sizes, layout.size(axis)):
        raise Opaque("its parts don't add up to what it splits")
    if any(isinstance(size, Dim) for size in split_sizes(context, layout.size(axis), certain=True)):
        layout = context.fix(layout, axis, "channels are cut at an unknown place")
    start = 0
    for index, size in enumerate(sizes):
        if layout.on(axis):
            assert isinstance(size, int)
            part = take(layout, axis, np.arange(start, start + size))
            context.segment(part, axis)
            start += size
        else:
            axes = list(layout.axes)
            axes[axis] = factors_of(size)
            part = Layout(tuple(axes), layout.fields, layout.why)
        context.output(part, index)


def _adds_up(sizes: list[Size], total: Size) -> bool:
    known = [size for size in (*sizes, total) if isinstance(size, int)]
    return min(known, default=0) >= 0 and (len(known) <= len(sizes) or sum(known[:-1]) == total)


def split_sizes(context: Context, total: Size, certain: bool = False) -> list[Size]:
    """The sizes of the parts of a Split."""
    count = len(context.node.outputs)
    given = context.integer_list("split")
    if given is not None:
        return list(given)
    if context.value(1) is not None:
        return context.numbers(1, certain)
    if isinstance(total, Dim):
        part = dims.floor_divide(total, count)
        return [part] * count
    part = -(-total // count)
    return [min(part, total - part * k) for k in range(count)]


@rule("Slice")
def slice_axes(context: Context) -> None:
    """Slice: starts, ends, axes and steps, as attributes before opset 10 and as inputs since."""
    layout = context.input(0)
    certain = {axis: (start, end) for axis, start, end, _ in slice_bounds(context, layout.rank, certain=True)}
    for axis, start, end, step in slice_bounds(context, layout.rank):
        size = layout.size(axis)
        if layout.on(axis):
            if isinstance(size, int) and all(isinstance(bound, int) for bound in certain[axis]):
                assert isinstance(start, int) and isinstance(end, int)
                layout = take(layout, axis, np.arange(size)[onnx_slice(start, end, step, size)])
                context.segment(layout, axis)
                continue
            layout = context.fix(layout, axis, "channels are cut at an unknown place")
        axes = list(layout.axes)
        axes[axis] = factors_of(_sliced(context, size, start, end, step, axis))
        layout = Layout(tuple(axes), layout.fields, layout.why)
    context.output(layout)


def slice_bounds(context: Context, rank: int, certain: bool = False) -> list[tuple[int, Size, Size, int]]:
    """(axis, start, end, step) of each sliced axis; Opaque where not even the axes are known."""
    first, last = context.integer_list("starts"), context.integer_list("ends")
    axes, steps = context.integer_list("axes"), None
    if first is not None and last is not None:
        starts: list[Size] = list(first)
        ends: list[Size] = list(last)
    else:
        starts, ends = context.numbers(1, certain), context.numbers(2, certain)
        axes, steps = context.integers(3), context.integers(4)
    axes = [axis % rank for axis in axes] if axes is not None else list(range(len(starts)))
    return list(zip(axes, starts, ends, steps or [1] * len(starts), strict=True))


def _sliced(context: Context, size: Size, start: Size, end: Size, step: int, axis: int) -> Size:
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
        return len(range(size)[onnx_slice(start, end, step, size)])
    everything = isinstance(end, int) and end >= 2**31 - 1
    if start == 0 and step == 1 and (everything or end == size):
        return size
    if start == 0 and step == 1 and isinstance(end, Dim) and dims.is_positive(end):
        return end
    if start == -1 and step == -1 and isinstance(end, int) and end <= -(2**31):
        return size
    return context.unknown_size(axis)


@rule("Gather")
def gather(context: Context) -> None:
    """Gather along one axis: by constant indices channels are taken, by computed ones the axis keeps its size."""
    layout = context.input(0)
    axis = context.integer("axis", 0) % layout.rank
    known = context.constant(1)
    certain = context.certain(1)
    whole = certain is not None and certain.dtype != object
    table = context.is_parameter(0)
    if (view := view_of(context, layout)) is not None and not table:
        result = viewed(layout, view)
        for part in result.fields:
            context.findings.segments.append(part.labels.ravel())
        context.output(result)
        return
    if known is not None and whole and layout.on(axis) and not table:
        indices = np.asarray(known, dtype=np.int64)
        size = layout.size(axis)
        if isinstance(size, Dim):
            raise Opaque("channels are taken from an axis of unknown size")
        taken = take(layout, axis, indices.ravel() % size)
        context.segment(taken, axis)
        if indices.ndim == 0:
            context.output(drop_axes(_scalar(context, taken, axis), [axis]))
        elif indices.ndim == 1:
            context.output(taken)
        else:
            context.output(context.reshaped(taken, [*taken.sizes[:axis], *indices.shape, *taken.sizes[axis + 1 :]]))
        return
    layout = context.fix(layout, axis, "it is looked up")
    for other in range(layout.rank):
        if table and other != axis:
            context.mark(layout, other, "producer")
    index = plain(known.shape) if known is not None else context.input(1)
    context.output(_placed(layout, axis, index))


def view_of(context: Context, layout: Layout) -> View | None:
    """How the current Gather reads a flattened tensor with channels; None where it is not one, or not understood."""
    index = context.value(1)
    if layout.rank != 1 or not layout.fields or index is None or len(layout.axes[0]) == 1:
        return None
    shape = constant_shape(index) if index.const_value is not None else None
    rank = len(shape) if shape is not None else context.input(1).rank
    return find_view(context.findings, layout, index, rank)


def _scalar(context: Context, layout: Layout, axis: int) -> Layout:
    """A single position taken out of an axis: labels that vary along it alone must stay."""
    fields = []
    for field in layout.fields:
        if not field.on(axis):
            fields.append(field)
        elif field.axes == (axis,):
            context.pin(field.labels, "a single channel is taken")
        else:
            k = field.slots.index((axis, 0))
            slots = tuple(slot for slot in field.slots if slot[0] != axis)
            fields.append(Field(slots, np.take(field.labels, 0, axis=k)))
    axes = list(layout.axes)
    axes[axis] = ()
    return Layout(tuple(axes), tuple(fields), layout.why)


def _placed(layout: Layout, axis: int, index: Layout) -> Layout:
    """One label-free axis replaced by those of the indices; channels of the indices are channels of the result."""
    shift = index.rank - 1
    axes: tuple[Factors, ...] = (*layout.axes[:axis], *index.axes, *layout.axes[axis + 1 :])
    fields = tuple(Field(tuple((a if a < axis else a + shift, k) for a, k in f.slots), f.labels) for f in layout.fields)
    return Layout(axes, (*fields, *_shifted(index, axis)), layout.why)


def _shifted(layout: Layout, by: int) -> tuple[Field, ...]:
    return tuple(Field(tuple((axis + by, k) for axis, k in f.slots), f.labels) for f in layout.fields)


@rule("GatherND")
def gather_nd(context: Context) -> None:
    """GatherND with constant indices [..., 1] is a Gather along the first axis; else only axes without channels go."""
    layout = context.input(0)
    known = context.certain(1)
    batch = context.integer("batch_dims", 0)
    if (
        known is not None
        and known.dtype != object
        and known.ndim == 2
        and known.shape[-1] == 1
        and not batch
        and layout.on(0)
    ):
        size = layout.size(0)
        if isinstance(size, Dim):
            raise Opaque("channels are taken from an axis of unknown size")
        taken = take(layout, 0, np.asarray(known[:, 0], dtype=np.int64) % size)
        context.segment(taken, 0)
        context.output(taken)
        return
    index = plain(known.shape) if known is not None else context.input(1)
    outer = index.rank - 1
    index = context.fix(index, outer, "it tells a place")
    depth = index.size(outer)
    if isinstance(depth, Dim) or batch:
        raise Opaque("its indices are not understood")
    for axis in range(depth):
        layout = context.fix(layout, axis, "it is looked up")
    rest = drop_axes(Layout(((),) * depth + layout.axes[depth:], layout.fields, layout.why), range(depth))
    fields = (*index.fields, *_shifted(rest, outer))
    context.output(Layout((*index.axes[:-1], *rest.axes), fields, layout.why))


@rule("ScatterND")
def scatter_nd(context: Context) -> None:
    """ScatterND of rows at constant indices [k, 1]: what is overwritten goes with what overwrites it."""
    layout = context.input(0)
    updates = context.parameter(2, ()) if context.is_parameter(2) and not layout.fields else context.input(2)
    known = context.certain(1)
    rows_known = known is not None and known.dtype != object and known.ndim == 2 and known.shape[-1] == 1
    if known is None or not rows_known or not layout.on(0) or not updates.on(0):
        for part in (layout, updates, *([context.input(1)] if known is None else [])):
            for axis in range(part.rank):
                context.fix(part, axis, "values are written over at places that are not whole channels")
        context.output(plain(layout.sizes, layout.why))
        return
    rows = np.asarray(known[:, 0], dtype=np.int64)
    base, new = context.project(layout, 0), context.project(updates, 0)
    assert base is not None and new is not None
    labels = base.copy()
    context.couple(base[rows], new)
    labels[rows] = new
    context.beside(base, labels)
    shared = context.together([without(layout, 0), without(updates, 0)])
    axes = ((labels.size,), *shared.axes[1:])
    context.output(Layout(axes, (Field(((0, 0),), labels), *shared.fields), layout.why))


@rule("TensorScatter")
def tensor_scatter(context: Context) -> None:
    """TensorScatter: positions of a cache are written over along one axis; along all others both are one."""
    cache, update = context.input(0), context.input(1)
    axis = context.integer("axis", -2) % cache.rank
    cache, update = (context.fix(layout, axis, "it is written over") for layout in (cache, update))
    if context.value(2) is not None:
        cache = context.fix(cache, 0, "each is written at a place of its own")
        update = context.fix(update, 0, "each is written at a place of its own")
    length = cache.axes[axis]
    shared = context.together(squared(context, [without(cache, axis), without(update, axis)], axis))
    axes = tuple(length if k == axis else factors for k, factors in enumerate(shared.axes))
    context.output(Layout(axes, shared.fields, cache.why))


@rule("GatherElements", "ScatterElements", "Scatter")
def elements(context: Context) -> None:
    """GatherElements, ScatterElements: understood only where no channels are near."""
    layout = context.input(0)
    others = [context.input(k) for k in range(1, len(context.inputs))]
    if layout.fields or any(other.fields for other in others):
        raise Opaque("elements are picked one by one")
    context.output(others[0] if context.node.op_type == "GatherElements" else layout)
