"""Reductions (ONNX Reduce*, ArgMax, ArgMin, TopK, CumSum): channels stay, unless they are what is reduced."""

from __future__ import annotations

from chanc.analysis.context import Context
from chanc.analysis.dims import Dim, Size
from chanc.analysis.grouping import normalise
from chanc.analysis.layout import Layout, drop_axes, factors_of, narrowed, without
from chanc.analysis.rules import rule

REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip


@rule(*REDUCTIONS)
def reduce(context: Context) -> None:
    """Axes are an attribute, or from opset 13 or 18 on an input; none means all, or none at all with the noop flag."""
    layout = context.input(0)
    axes = context.integer_list("axes")
    if axes is None:
        axes = context.integers(1)
    if not axes:
        axes = [] if context.integer("noop_with_empty_axes", 0) else list(range(layout.rank))
    axes = sorted(axis % layout.rank for axis in axes)
    normalise(context, layout, axes)
    context.output(_gone(layout, axes, bool(context.integer("keepdims", 1))))


@rule("ArgMax", "ArgMin")
def argmax(context: Context) -> None:
    """ArgMax, ArgMin: the axis that is searched keeps its size, for positions on it come out."""
    layout = context.input(0)
    axis = context.integer("axis", 0) % layout.rank
    layout = context.fix(layout, axis, "positions on this axis come out")
    context.output(_gone(layout, [axis], bool(context.integer("keepdims", 1))))


@rule("TopK")
def top_k(context: Context) -> None:
    """TopK: the sorted axis keeps its size; values and indices come out."""
    layout = context.input(0)
    axis = context.integer("axis", -1) % layout.rank
    layout = context.fix(layout, axis, "positions on this axis come out")
    count: Size = context.integer("k", 0)
    known = context.constant(1)
    if known is not None and known.size == 1 and isinstance(first := known.ravel().tolist()[0], int | Dim):
        count = first
    for index in range(len(context.node.outputs)):
        context.output(without(layout, axis, count or context.unknown_size("k")), index)


@rule("CumSum", "CumProd")
def cumsum(context: Context) -> None:
    """CumSum: the axis that is summed keeps its size."""
    layout = context.input(0)
    axis = (context.integers(1) or [0])[0] % layout.rank
    context.output(context.fix(layout, axis, "a running sum over this axis"))


def _gone(layout: Layout, axes: list[int], keep: bool) -> Layout:
    sizes = list(layout.axes)
    for axis in axes:
        sizes[axis] = factors_of(1)
    fields = tuple(rest for f in layout.fields if (rest := narrowed(f, axes)) is not None)
    reduced = Layout(tuple(sizes), fields, layout.why)
    return reduced if keep else drop_axes(reduced, axes)
