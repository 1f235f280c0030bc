"""Units against brute force, and tensors that must stay rectangular."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chanc.analysis import analyze
from chanc.analysis.context import Context
from chanc.analysis.findings import Findings
from chanc.analysis.layout import Field, Layout, vector
from chanc.analysis.solve import Units, by_axis, moving_axis, solve
from chanc.testing.builders import build
from chanc.testing.graphs import Graph

PAIRS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=14)


def empty(labels: int = 0) -> Context:
    findings = Findings(ir.Graph([], [], nodes=[]), opset=17, label_count=labels)
    return Context(findings, ir.node("Identity", []), visit_body=lambda graph: None)


def array(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def smallest(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """The smallest member of each element's set, by flooding."""
    root = list(range(count))
    changed = True
    while changed:
        changed = False
        for a, b in pairs:
            low = min(root[a], root[b])
            changed |= root[a] != low or root[b] != low
            root[a] = root[b] = low
    return root


def united(pairs: list[tuple[int, int]], unite) -> None:
    for a, b in pairs:
        unite(array(a), array(b))


@given(same=PAIRS, coupled=PAIRS)
def test_channels_and_units_are_connected_components(same, coupled) -> None:
    context = empty(12)
    united(same, context.same)
    united(coupled, context.couple)
    units = solve(context.findings)
    assert units.channel.tolist() == smallest(12, same)
    assert units.unit.tolist() == smallest(12, same + coupled)


@given(same=PAIRS, coupled=PAIRS, pinned=st.sets(st.integers(0, 11)))
def test_a_pin_holds_the_whole_unit_and_the_first_reason_stays(same, coupled, pinned) -> None:
    context = empty(12)
    united(same, context.same)
    united(coupled, context.couple)
    for k in sorted(pinned):
        context.pin(array(k), f"reason {k}")
    units = solve(context.findings)
    for root in set(units.unit.tolist()):
        members = np.flatnonzero(units.unit == root).tolist()
        reasons = [k for k in sorted(pinned) if k in members]
        assert (root in units.pinned) == bool(reasons)
        if reasons:
            assert units.pinned[root].reason == f"reason {reasons[0]}"


def test_inexact_and_unscaled_units() -> None:
    context = empty(6)
    context.couple(array(0), array(1))
    context.mark_inexact(array(1), "a LayerNorm")
    context.mark_unscaled(array(4), "a product")
    context.mark_undivided(array(5))
    units = solve(context.findings)
    assert units.inexact == {0: "a LayerNorm"}
    assert units.unscaled == {4: "a product"}
    assert units.undivided.tolist() == [5]


@pytest.mark.parametrize(
    ("units", "moving"),
    [
        ([[0, 0, 0], [1, 1, 1]], 0),
        ([[0, 1, 2], [0, 1, 2]], 1),
        ([[0, 1], [1, 0]], None),
        ([[0, 0], [0, 1]], None),
        ([[0, 0], [0, 0]], -1),
        ([[0, 0, 0]], 0),
        ([[0], [0]], 1),
        ([[0]], -1),
        ([[0, 1, 2]], 1),
        ([0, 1, 1], 0),
        ([[[0, 0], [0, 0]], [[1, 1], [1, 1]]], 0),
        ([[[0, 1], [0, 1]], [[0, 1], [0, 1]]], 2),
        ([[[0, 0], [1, 1]], [[1, 1], [0, 0]]], None),
    ],
)
def test_the_axis_along_which_units_go(units, moving: int | None) -> None:
    assert moving_axis(np.array(units)) == moving


def test_labels_by_axis() -> None:
    """Slots in any order, several on one axis: one dimension an axis, row-major within it."""
    labels = np.arange(24).reshape(2, 3, 4)
    field = Field(((1, 1), (0, 0), (1, 0)), labels)
    expected = np.array([[labels[j, i, k] for k in range(4) for j in range(2)] for i in range(3)])
    assert np.array_equal(by_axis(field), expected)


def spread(rows: int, columns: int) -> tuple[Context, np.ndarray]:
    """A tensor [rows, columns] with a label at every position."""
    context = empty()
    labels = context.fresh(rows * columns).reshape(rows, columns)
    layout = Layout(((rows,), (columns,)), (Field(((0, 0), (1, 0)), labels),))
    context.findings.layouts[ir.Value(name="t")] = layout
    return context, labels


def units_of(units: Units, labels: np.ndarray) -> np.ndarray:
    return units.unit[labels]


def test_free_labels_over_two_axes_go_in_whole_rows_or_columns() -> None:
    context, labels = spread(4, 3)
    found = units_of(solve(context.findings), labels)
    moving = moving_axis(found)
    assert moving in (0, 1)
    assert np.unique(found).size == labels.shape[moving]


def test_a_pinned_column_leaves_the_other_columns_free() -> None:
    context, labels = spread(3, 4)
    context.pin(labels[:, 0], "it is fixed")
    units = solve(context.findings)
    found = units_of(units, labels)
    assert moving_axis(found) == 1
    assert set(units.pinned) == {int(found[0, 0])}


def test_a_pinned_row_leaves_the_other_rows_free() -> None:
    context, labels = spread(3, 4)
    context.pin(labels[1], "it is fixed")
    units = solve(context.findings)
    found = units_of(units, labels)
    assert moving_axis(found) == 0
    assert set(units.pinned) == {int(found[1, 0])}


def test_rows_that_are_tied_across_lose_their_columns() -> None:
    """One pair in different rows and columns: its two rows go together, or its two columns do."""
    context, labels = spread(4, 4)
    context.same(labels[0, 1:2], labels[2, 3:4])
    found = units_of(solve(context.findings), labels)
    assert moving_axis(found) in (0, 1)
    assert np.unique(found).size == 3


def test_two_tensors_pull_on_each_other() -> None:
    """[A, B] loses columns where B is fixed by another tensor's rows: solved until both are rectangular."""
    context, labels = spread(3, 4)
    other = context.fresh(12).reshape(4, 3)
    context.same(labels, other.T)
    context.findings.layouts[ir.Value(name="u")] = Layout(((4,), (3,)), (Field(((0, 0), (1, 0)), other),))
    context.pin(labels[0], "it is fixed")
    units = solve(context.findings)
    assert moving_axis(units.unit[labels]) == 0
    assert moving_axis(units.unit[other]) == 1
    assert len(units.pinned) == 1


def test_a_single_unit_over_two_axes_is_pinned() -> None:
    context, labels = spread(2, 2)
    context.couple(labels, labels[:1, :1])
    units = solve(context.findings)
    assert units.pinned[0].reason == "it is the only unit of 't', which spans several axes"


def test_one_axis_never_couples() -> None:
    context = empty()
    labels = context.fresh(5)
    context.findings.layouts[ir.Value(name="t")] = vector(labels, 1, [2, 5, 7])
    assert solve(context.findings).unit.tolist() == [0, 1, 2, 3, 4]


def test_a_kernel_that_is_also_read_as_a_whole_stays() -> None:
    """The sum of the kernel enters another branch: nothing there knows its axes as channels."""
    body = """
    a = Conv (x, w)
    r = Relu (a)
    b = Conv (r, v)
    s = me.Odd (w)
    y = Add (b, s)
    """
    model = build("float[N,3,4,4] x", "float y", body, {"w": (6, 3, 1, 1), "v": (1, 6, 1, 1)}, domains=("me",))
    group = analyze(model).group("w")
    assert not group.resizable
    assert group.size == 6


def test_an_analysis_goes_when_nobody_holds_it() -> None:
    """By its reference counts: what it holds doesn't wait for the collector of cycles."""
    graph = Graph()
    analysis = analyze(graph.model(graph.input("x", [1, 3, 8, 8]).conv(4).bn().gap().flatten().gemm(2)))
    labels = weakref.ref(analysis.findings.parameters[0].labels)
    gc.disable()
    try:
        del analysis
        assert labels() is None
    finally:
        gc.enable()
