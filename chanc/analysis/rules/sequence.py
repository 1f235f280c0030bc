"""Sequences of tensors (ONNX SequenceConstruct, SplitToSequence, SequenceAt, ConcatFromSequence, ...) and Optional.

A sequence whose length and places are known is a row of layouts; any other pins what is put into it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.analysis.dims import Dim, Size
from chanc.analysis.layout import Layout, Opaque, drop_axes, factors_of, insert_axes, plain, take
from chanc.analysis.rules import rule
from chanc.analysis.rules.select import joined, squared
from chanc.analysis.sweep import Sweep

Row = tuple[Layout, ...]


@rule("SequenceEmpty")
def empty(sweep: Sweep) -> None:
    """SequenceEmpty: no tensors."""
    _emit(sweep, ())


@rule("SequenceConstruct")
def construct(sweep: Sweep) -> None:
    """SequenceConstruct: the inputs in order."""
    assert sweep.node is not None
    _emit(sweep, tuple(sweep.input(index) for index in range(len(sweep.node.inputs))))


@rule("SequenceAt")
def at(sweep: Sweep) -> None:
    """SequenceAt: one tensor."""
    row = _row(sweep)
    sweep.output(row[_place(sweep, 1, len(row) - 1, len(row))])


@rule("SequenceInsert")
def insert(sweep: Sweep) -> None:
    """SequenceInsert: at a place, or at the end."""
    row = _row(sweep)
    place = _place(sweep, 2, len(row), len(row) + 1) if sweep.value(2) is not None else len(row)
    _emit(sweep, (*row[:place], sweep.input(1), *row[place:]))


@rule("SequenceErase")
def erase(sweep: Sweep) -> None:
    """SequenceErase: at a place, or the last."""
    row = _row(sweep)
    place = _place(sweep, 1, len(row) - 1, len(row)) if sweep.value(1) is not None else len(row) - 1
    _emit(sweep, (*row[:place], *row[place + 1 :]))


@rule("SequenceLength")
def length(sweep: Sweep) -> None:
    """SequenceLength: a number that is known."""
    assert sweep.node is not None
    sweep.data[sweep.node.outputs[0]] = np.array(len(_row(sweep)))
    sweep.output(plain([], "a length"))


@rule("ConcatFromSequence")
def concat(sweep: Sweep) -> None:
    """ConcatFromSequence: all tensors joined along an axis, or stacked along a new one."""
    row = list(_row(sweep))
    if not row:
        raise Opaque("its sequence is empty")
    stacked = bool(sweep.integer("new_axis", 0))
    axis = sweep.integer("axis", 0) % (row[0].rank + int(stacked))
    if stacked:
        row = [insert_axes(layout, [axis]) for layout in row]
    sweep.output(joined(sweep, squared(sweep, row, axis), axis))


@rule("SplitToSequence")
def split(sweep: Sweep) -> None:
    """SplitToSequence: parts of an axis, of the sizes given or of one size; without any, single positions."""
    layout = sweep.input(0)
    axis = sweep.integer("axis", 0) % layout.rank
    if sweep.value(1) is None:
        layout = sweep.fix(layout, axis, "single positions are taken of it")
        single = _cut(sweep, layout, axis)(0, 1)
        keep = sweep.integer("keepdims", 1)
        _emit(sweep, (single if keep else drop_axes(single, [axis]),) * len(_sizes(sweep, layout.size(axis))))
        return
    part, parts, start = _cut(sweep, layout, axis), [], 0
    for size in _sizes(sweep, layout.size(axis)):
        parts.append(part(start, size))
        start += size
    _emit(sweep, tuple(parts))


def _cut(sweep: Sweep, layout: Layout, axis: int) -> Callable[[int, int], Layout]:
    def part(start: int, size: int) -> Layout:
        if not layout.on(axis):
            axes = [factors_of(size) if k == axis else factors for k, factors in enumerate(layout.axes)]
            return Layout(tuple(axes), layout.fields, layout.why)
        found = take(layout, axis, np.arange(start, start + size))
        sweep.segment(found, axis)
        return found

    return part


def _sizes(sweep: Sweep, total: Size) -> list[int]:
    """The sizes of the parts; an axis of unknown size has a number of parts that isn't known."""
    known = sweep.constant(1) if sweep.value(1) is not None else np.array(1)
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
def optional(sweep: Sweep) -> None:
    """Optional, OptionalGetElement: the tensor that is there."""
    if sweep.value(0) in sweep.sequences:
        raise Opaque("it is an optional sequence")
    sweep.output(sweep.input(0))


@rule("OptionalHasElement")
def has_element(sweep: Sweep) -> None:
    """OptionalHasElement: a truth value."""
    sweep.unneeded(0)
    sweep.output(plain([], "a truth value"))


def _row(sweep: Sweep) -> Row:
    value = sweep.value(0)
    if value is None or value not in sweep.sequences:
        raise Opaque("what its sequence holds is not known")
    return sweep.sequences[value]


def _emit(sweep: Sweep, row: Row) -> None:
    assert sweep.node is not None
    sweep.sequences[sweep.node.outputs[0]] = row


def _place(sweep: Sweep, index: int, last: int, count: int) -> int:
    """A place in a sequence; negative ones count from the end."""
    known = sweep.integers(index)
    place = known[0] + (count if known[0] < 0 else 0) if known else -1
    if not 0 <= place <= last:
        raise Opaque("its place is not in the sequence")
    return place
