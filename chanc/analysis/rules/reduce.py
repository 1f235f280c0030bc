"""Reductions (ONNX Reduce*, ArgMax, ArgMin, TopK, CumSum): channels stay, unless they are what is reduced."""

from __future__ import annotations

from chanc.analysis.dims import Size, unknown
from chanc.analysis.layout import Layout, drop_axes, factors_of, narrowed, without
from chanc.analysis.rules import rule
from chanc.analysis.rules.norm import normalise
from chanc.analysis.sweep import Sweep

REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip


@rule(*REDUCTIONS)
def reduce(sweep: Sweep) -> None:
    """Axes are an attribute, or from opset 13 or 18 on an input; none means all, or none at all with the noop flag."""
    layout = sweep.input(0)
    axes = sweep.integer_list("axes")
    if axes is None:
        axes = sweep.integers(1)
    if not axes:
        axes = [] if sweep.integer("noop_with_empty_axes", 0) else list(range(layout.rank))
    axes = sorted(axis % layout.rank for axis in axes)
    normalise(sweep, layout, axes)
    sweep.output(_gone(layout, axes, bool(sweep.integer("keepdims", 1))))


@rule("ArgMax", "ArgMin")
def argmax(sweep: Sweep) -> None:
    """ArgMax, ArgMin: the axis that is searched keeps its size, for positions on it come out."""
    layout = sweep.input(0)
    axis = sweep.integer("axis", 0) % layout.rank
    layout = sweep.fix(layout, axis, "positions on this axis come out")
    sweep.output(_gone(layout, [axis], bool(sweep.integer("keepdims", 1))))


@rule("TopK")
def top_k(sweep: Sweep) -> None:
    """TopK: the sorted axis keeps its size; values and indices come out."""
    layout = sweep.input(0)
    axis = sweep.integer("axis", -1) % layout.rank
    layout = sweep.fix(layout, axis, "positions on this axis come out")
    count: Size = sweep.integer("k", 0)
    known = sweep.constant(1)
    if known is not None:
        count = known.ravel()[0].item() if hasattr(known.ravel()[0], "item") else known.ravel()[0]
    assert sweep.node is not None
    for index in range(len(sweep.node.outputs)):
        sweep.output(without(layout, axis, count or unknown(f"{sweep.node.outputs[0].name}.k")), index)


@rule("CumSum", "CumProd")
def cumsum(sweep: Sweep) -> None:
    """CumSum: the axis that is summed keeps its size."""
    layout = sweep.input(0)
    axis = (sweep.integers(1) or [0])[0] % layout.rank
    sweep.output(sweep.fix(layout, axis, "a running sum over this axis"))


def _gone(layout: Layout, axes: list[int], keep: bool) -> Layout:
    sizes = list(layout.axes)
    for axis in axes:
        sizes[axis] = factors_of(1)
    fields = tuple(rest for f in layout.fields if (rest := narrowed(f, axes)) is not None)
    reduced = Layout(tuple(sizes), fields, layout.why)
    return reduced if keep else drop_axes(reduced, axes)
