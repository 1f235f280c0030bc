"""The order of copies: which neighbours of one unit are repeated as a block, and which are parted by a seam."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from chanc.analysis.context import Context
from chanc.analysis.dims import unknown
from chanc.analysis.findings import Findings
from chanc.analysis.layout import Field, Layout, merge, transpose, vector
from chanc.analysis.order import find_order
from chanc.analysis.reshaping import regrouped, reshape
from chanc.rewriter.axis_maps import Resize

N = 12
HW = unknown("HW")


@pytest.fixture
def context() -> Context:
    findings = Findings(ir.Graph([], [], nodes=[]), opset=17, label_count=N)
    return Context(findings, ir.node("Identity", []), visit_body=lambda graph: None)


def seams(context: Context, unit: list[int], free: bool = True) -> tuple[set[tuple[int, int]], set[int]]:
    """(pairs that a seam parts, units that no order suits)"""
    units = np.array([*unit, *range(len(unit), N)])
    found = find_order(context.findings, np.arange(N), units, np.full(N, free))
    return {(int(key) // N, int(key) % N) for key in found.seams}, set(found.torn.tolist())


def see(context: Context, layout: Layout) -> None:
    context.findings.views.append((layout, None))


def line(*labels: int) -> Field:
    return Field(((1, 0),), np.array(labels))


def test_without_factors_all_is_one_block(context: Context) -> None:
    see(context, vector(np.arange(4), 1, [1, 4, 5]))
    assert seams(context, [0, 0, 0, 0]) == (set(), set())


def test_a_coarser_factor_parts_the_end_of_a_line_from_its_beginning(context: Context) -> None:
    """[2, 3] of which columns go, the first and the last as one: 0 1 0 | 0 1 0."""
    see(context, Layout(((), (2, 3)), (Field(((1, 1),), np.arange(3)),)))
    assert seams(context, [0, 1, 0]) == ({(2, 0)}, set())
    assert seams(context, [0, 1, 2]) == (set(), set())


def test_a_finer_factor_joins(context: Context) -> None:
    """Pixels after channels: a Concat of a channel with itself can't have a seam then, nor a repeat of the line."""
    see(context, Layout(((), (2, HW)), (Field(((1, 0),), np.arange(2)),)))
    context.findings.seams += [(1, 1), (1, 0)]
    assert seams(context, [0, 0]) == ({(1, 0)}, set())


def test_lines_side_by_side_are_repeated_alike(context: Context) -> None:
    """[2, 3] on two axes: what parts the neighbours 0 and 1 in the first row parts 3 and 4 in the second."""
    grid = np.arange(6).reshape(2, 3)
    see(context, Layout(((2,), (3,)), (Field(((0, 0), (1, 0)), grid),)))
    context.findings.seams += [(0, 1)]
    assert seams(context, [0, 0, 2, 0, 0, 2]) == ({(0, 1), (3, 4)}, set())


def test_a_block_has_the_seams_of_its_line(context: Context) -> None:
    """Rows of [3, 2], the first two as one unit: 1 and 2 are neighbours as 0 and 2 are, by rows."""
    context.cut(np.arange(6), 3, 0)
    context.findings.seams += [(0, 2)]
    assert seams(context, [0, 0, 0, 0, 4, 4]) == ({(0, 2), (1, 3), (1, 2)}, set())


def test_a_concat_does_without_a_seam_inside_a_block(context: Context) -> None:
    context.cut(np.arange(4), 2, 0)
    context.findings.seams += [(0, 1), (1, 2)]
    assert seams(context, [0, 0, 2, 2]) == (set(), set())


def test_columns_part_what_rows_join(context: Context) -> None:
    """1 and 2 are the end of a column line and the beginning of its repeat, and elsewhere they are one row."""
    context.cut(np.arange(4), 2, 1)
    assert seams(context, [0, 0, 0, 0, 4, 4]) == ({(1, 2)}, set())
    context.cut(np.array([1, 2, 4, 5]), 2, 0)
    assert seams(context, [0, 0, 0, 0, 4, 4]) == (set(), {0})


def test_what_is_pinned_has_no_order(context: Context) -> None:
    see(context, Layout(((), (2, 3)), (Field(((1, 1),), np.arange(3)),)))
    assert seams(context, [0, 1, 0], free=False) == (set(), set())


@pytest.mark.parametrize("rows", [True, False])
def test_a_shuffle_is_repeated_as_its_flat_lines_are(context: Context, rows: bool) -> None:
    """By hand: [6] seen as [2, 3], turned, seen as [6]; both flat lines are repeated by their pairs alone."""
    unit = np.array([0, 0, 0, 1, 1, 1] if rows else [0, 0, 1, 0, 0, 1])
    flat = vector(np.arange(6), 0, [6])
    cut = context.reshaped(flat, [2, 3])
    turned = transpose(cut, [1, 0])
    back = context.reshaped(turned, [6])
    for layout in (cut, turned, back):
        see(context, layout)
    found, torn = seams(context, unit.tolist())
    assert not torn
    copies = np.ones(N, dtype=np.int64)
    copies[0] = 2
    units = np.array([*unit, *range(6, N)])
    keys = np.array([a * N + b for a, b in sorted(found)], dtype=np.int64)
    done = Resize(units, copies, np.arange(N), keys)
    after = merge(back, 0).fields[0].labels
    grid = done.line(np.arange(6)).reshape((-1, 3) if rows else (2, -1))
    assert np.array_equal(after[done.line(after)], grid.T.ravel())


def test_regrouped_puts_factors_back_into_the_axes_they_came_from() -> None:
    layout = Layout(((unknown("N"),), (6,), (HW,)), (line(*range(6)),))
    cut = reshape(layout, [unknown("N"), 2, 3, HW])
    seen = regrouped(cut, layout.sizes)
    assert seen.axes == ((unknown("N"),), (2, 3), (HW,))
    assert seen.fields[0].slots == ((1, 0), (1, 1))
    assert np.array_equal(seen.fields[0].labels, np.arange(6).reshape(2, 3))


def test_regrouped_leaves_factors_alone_where_axes_were_joined() -> None:
    """H and W are one factor by now: they are no axis of the input, and say nothing of its channels."""
    layout = Layout(((), (4,), (5,), (7,)), (line(0, 1, 2, 3),))
    seen = regrouped(reshape(layout, [1, 2, 2, 35]), layout.sizes)
    assert [factors for factors in seen.axes if factors] == [(2, 2), (35,)]
