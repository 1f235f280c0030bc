"""Sequences of tensors (ONNX SequenceConstruct, SplitToSequence, SequenceAt, ConcatFromSequence, ...) and Optional.

A sequence whose length and places are known is a row of layouts; any other pins what is put into it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.analysis.context import Context
from chanc.analysis.dims import Dim, Size
from chanc.analysis.joining import joined, squared
from chanc.analysis.layout import Layout, Opaque, drop_axes, factors_of, insert_axes, plain, take
from chanc.analysis.rules import rule

Row = tuple[Layout, ...]


@rule("SequenceEmpty")
def empty(context: Context) -> None:
    """SequenceEmpty: no tensors."""
    _emit(context, ())


@rule("SequenceConstruct")
def construct(context: Context) -> None:
    """SequenceConstruct: the inputs in order."""
    _emit(context, tuple(context.input(index) for index in range(len(context.node.inputs))))


@rule("SequenceAt")
def at(context: Context) -> None:
    """SequenceAt: one tensor."""
    row = _row(context)
    context.output(row[_place(context, 1, len(row) - 1, len(row))])


@rule("SequenceInsert")
def insert(context: Context) -> None:
    """SequenceInsert: at a place, or at the end."""
    row = _row(context)
    place = _place(context, 2, len(row), len(row) + 1) if context.value(2) is not None else len(row)
    _emit(context, (*row[:place], context.input(1), *row[place:]))


@rule("SequenceErase")
def erase(context: Context) -> None:
    """SequenceErase: at a place, or the last."""
    row = _row(context)
    place = _place(context, 1, len(row) - 1, len(row)) if context.value(1) is not None else len(row) - 1
    _emit(context, (*row[:place], *row[place + 1 :]))


@rule("SequenceLength")
def length(context: Context) -> None:
    """SequenceLength: a number that is known."""
    context.findings.data[context.node.outputs[0]] = np.array(len(_row(context)))
    context.output(plain([], "a length"))


@rule("ConcatFromSequence")
def concat(context: Context) -> None:
    """ConcatFromSequence: all tensors joined along an axis, or stacked along a new one."""
    row = list(_row(context))
    if not row:
        raise Opaque("its sequence is empty")
    stacked = bool(context.integer("new_axis", 0))
    axis = context.integer("axis", 0) % (row[0].rank + int(stacked))
    if stacked:
        row = [insert_axes(layout, [axis]) for layout in row]
    context.output(joined(context, squared(context, row, axis), axis))


@rule("SplitToSequence")
def split(context: Context) -> None:
    """SplitToSequence: parts of an axis, of the sizes given or of one size; without any, single positions."""
    layout = context.input(0)
    axis = context.integer("axis", 0) % layout.rank
    if context.value(1) is None:
        layout = context.fix(layout, axis, "single positions are taken of it")
        single = _cut(context, layout, axis)(0, 1)
        keep = context.integer("keepdims", 1)
        _emit(context, (single if keep else drop_axes(single, [axis]),) * len(_sizes(context, layout.size(axis))))
        return
    part, parts, start = _cut(context, layout, axis), [], 0
    for size in _sizes(context, layout.size(axis)):
        parts.append(part(start, size))
        start += size
    _emit(context, tuple(parts))


def _cut(context: Context, layout: Layout, axis: int) -> Callable[[int, int], Layout]:
    def part(start: int, size: int) -> Layout:
        if not layout.on(axis):
            axes = [factors_of(size) if k == axis else factors for k, factors in enumerate(layout.axes)]
            return Layout(tuple(axes), layout.fields, layout.why)
        found = take(layout, axis, np.arange(start, start + size))
        context.segment(found, axis)
        return found

    return part


def _sizes(context: Context, total: Size) -> list[int]:
    """The sizes of the parts; an axis of unknown size has a number of parts that isn't known."""
    known = context.constant(1) if context.value(1) is not None else np.array(1)
    if known is None or known.dtype == object or isinstance(total, Dim):
        raise Opaque("its parts are not known")
    if known.ndim:
        sizes = [int(n) for n in known.tolist()]
    else:
        chunk = max(int(known), 1)
        sizes = [min(chunk, total - start) for start in range(0, total, chunk)]
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise Opaque("its parts don't add up to what it splits")
    return sizes


@rule("Optional", "OptionalGetElement")
def optional(context: Context) -> None:
    """Optional, OptionalGetElement: the tensor that is there."""
    if context.value(0) in context.findings.sequences:
        raise Opaque("it is an optional sequence")
    context.output(context.input(0))


@rule("OptionalHasElement")
def has_element(context: Context) -> None:
    """OptionalHasElement: a truth value."""
    context.unneeded(0)
    context.output(plain([], "a truth value"))


def _row(context: Context) -> Row:
    value = context.value(0)
    if value is None or value not in context.findings.sequences:
        raise Opaque("what its sequence holds is not known")
    return context.findings.sequences[value]


def _emit(context: Context, row: Row) -> None:
    context.findings.sequences[context.node.outputs[0]] = row


def _place(context: Context, index: int, last: int, count: int) -> int:
    """A place in a sequence; negative ones count from the end."""
    known = context.integers(index)
    place = known[0] + (count if known[0] < 0 else 0) if known else -1
    if not 0 <= place <= last:
        raise Opaque("its place is not in the sequence")
    return place
