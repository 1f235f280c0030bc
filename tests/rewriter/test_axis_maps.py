"""Axis maps against brute force: every position of a small tensor followed one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chanc.analysis.dims import unknown
from chanc.analysis.layout import Field, Layout, factors_of, vector
from chanc.errors import IllegalMove
from chanc.rewriter.axis_maps import Resize, occurrence, remap

NONE = np.empty(0, dtype=np.int64)


def resize(units, copies) -> Resize:
    """Units by label; `copies` by unit."""
    units = np.array(units, dtype=np.int64)
    counts = np.ones(units.size, dtype=np.int64)
    for unit, count in copies.items():
        counts[unit] = count
    return Resize(units, counts, np.arange(units.size), NONE)


def repeated(runs: list[int], copies: list[int]) -> list[int]:
    """By brute force: runs of one unit, each whole run as often as its unit is copied."""
    start, out = 0, []
    for length, count in zip(runs, copies, strict=True):
        out += list(range(start, start + length)) * count
        start += length
    return out


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=8))
def test_a_line_repeats_runs_of_a_unit_as_blocks(parts: list[tuple[int, int]]) -> None:
    runs, copies = [r for r, _ in parts], [c for _, c in parts]
    labels = np.arange(sum(runs))
    starts = np.repeat(np.cumsum([0, *runs[:-1]]), runs)
    counts = dict(zip(np.unique(starts).tolist(), copies, strict=True))
    done = resize(starts, counts)
    assert done.line(labels).tolist() == repeated(runs, copies)
    assert done.changes(labels) == any(count != 1 for count in copies)
    layout = vector(labels, 1, [2, labels.size, 5])
    assert done.size(layout, 1) == sum(r * c for r, c in parts)
    source = done.source(layout, 1)
    assert (source is None) == all(count == 1 for count in copies)
    if source is not None:
        assert source.tolist() == repeated(runs, copies)
    assert done.source(layout, 0) is None


def test_units_that_alternate_are_repeated_one_by_one() -> None:
    """Two units that interleave (a channel shuffle): no runs, so each copy stands next to its source."""
    done = resize([0, 1, 0, 1, 0, 1], {0: 2})
    assert done.line(np.arange(6)).tolist() == [0, 0, 1, 2, 2, 3, 4, 4, 5]


def test_a_seam_parts_a_run() -> None:
    """[a b | c d], all one unit, joined by a Concat: copies of the left part stand before the right part."""
    units, copies = np.zeros(4, dtype=np.int64), np.array([2, 1, 1, 1])
    channel = np.arange(4)
    assert Resize(units, copies, channel, NONE).line(np.arange(4)).tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    seam = np.array([1 * 4 + 2])
    assert Resize(units, copies, channel, seam).line(np.arange(4)).tolist() == [0, 1, 0, 1, 2, 3, 2, 3]


@given(
    sizes=st.tuples(*[st.integers(1, 4)] * 3),
    slot=st.integers(0, 2),
    copies=st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_a_factor_within_an_axis(sizes: tuple[int, int, int], slot: int, copies: list[int]) -> None:
    """Labels on one of three factors: position (i, j, k) is there as often as its label is copied."""
    axis = tuple(sizes)
    labels = np.arange(sizes[slot])
    layout = Layout((axis, factors_of(7)), (Field(((0, slot),), labels),))
    done = resize(np.arange(4), dict(enumerate(copies)))
    kept = repeated([1] * labels.size, copies[: labels.size])
    ranges = [range(n) for n in sizes]
    ranges[slot] = kept
    expected = [(i * sizes[1] + j) * sizes[2] + k for i, j, k in product(*ranges)]
    assert done.size(layout, 0) == len(expected)
    assert done.sizes(layout) == (len(expected), 7)
    source = done.source(layout, 0)
    if all(count == 1 for count in copies[: labels.size]):
        assert source is None
    else:
        assert source is not None
        assert source.tolist() == expected


@given(rows=st.integers(2, 4), columns=st.integers(2, 4), copies=st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_whole_columns_of_two_factors_of_an_axis(rows: int, columns: int, copies: list[int]) -> None:
    """A grouped convolution's input: labels over (group, channel), united along the groups."""
    labels = np.arange(rows * columns).reshape(rows, columns)
    units = np.tile(np.arange(columns), rows)
    layout = Layout(((rows, columns),), (Field(((0, 0), (0, 1)), labels),))
    done = resize(units, dict(enumerate(copies[:columns])))
    expected = [r * columns + c for r in range(rows) for c in repeated([1] * columns, copies[:columns])]
    source = done.source(layout, 0)
    assert (list(range(rows * columns)) if source is None else source.tolist()) == expected
    assert done.size(layout, 0) == len(expected)


@given(rows=st.integers(2, 4), columns=st.integers(2, 4), copies=st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_whole_rows_over_two_axes(rows: int, columns: int, copies: list[int]) -> None:
    """Labels that vary along two axes, united along the second: only the first is resized."""
    labels = np.arange(rows * columns).reshape(rows, columns)
    units = np.repeat(np.arange(rows) * columns, columns)
    layout = Layout(((rows,), (columns,)), (Field(((0, 0), (1, 0)), labels),))
    done = resize(units, {r * columns: copies[r] for r in range(rows)})
    expected = repeated([1] * rows, copies[:rows])
    source = done.source(layout, 0)
    assert (list(range(rows)) if source is None else source.tolist()) == expected
    assert done.source(layout, 1) is None
    assert done.sizes(layout) == (len(expected), columns)


def test_a_tensor_that_would_not_stay_rectangular_is_an_illegal_move() -> None:
    labels = np.arange(4).reshape(2, 2)
    layout = Layout(((2,), (2,)), (Field(((0, 0), (1, 0)), labels),))
    with pytest.raises(IllegalMove, match="rectangular"):
        resize([0, 1, 2, 0], {0: 0}).source(layout, 0)


def test_a_factor_of_unknown_size_beside_the_channels() -> None:
    layout = Layout(((unknown("N"), 3),), (Field(((0, 1),), np.arange(3)),))
    with pytest.raises(IllegalMove, match="unknown size"):
        resize([0, 1, 2], {0: 0}).source(layout, 0)
    assert str(resize([0, 1, 2], {0: 0}).size(layout, 0)) == "2*N"


@given(st.lists(st.integers(0, 5), max_size=30))
def test_occurrence_counts_earlier_equals(source: list[int]) -> None:
    expected = [source[:k].count(value) for k, value in enumerate(source)]
    assert occurrence(np.array(source, dtype=np.int64)).tolist() == expected


@settings(max_examples=200)
@given(copies=st.lists(st.integers(0, 3), min_size=1, max_size=8), data=st.data())
def test_remap_reads_copy_k_for_copy_k(copies: list[int], data: st.DataObject) -> None:
    """A permutation or subset of an axis, both resized by the same copies: labels follow."""
    size = len(copies)
    indices = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=10, unique=True))
    inner = np.repeat(np.arange(size), copies)
    wide = np.repeat(np.arange(len(indices)), [copies[i] for i in indices])
    found = remap(np.array(indices), inner, wide, size)
    # The new axis holds (old position, copy); the new result must hold the same pairs in the old result's order.
    axis = [(old, k) for old in range(size) for k in range(copies[old])]
    expected = [(old, k) for old in indices for k in range(copies[old])]
    assert [axis[n] for n in found.tolist()] == expected


def test_remap_with_one_side_that_stays() -> None:
    assert remap(np.array([2, 0]), None, None, 3).tolist() == [2, 0]
    assert remap(np.array([2, 0]), np.array([0, 2]), None, 3).tolist() == [1, 0]
    assert remap(np.array([2, 0, 2]), np.array([0, 1, 2, 2]), None, 3).tolist() == [2, 0, 2]
    with pytest.raises(IllegalMove, match="would be gone"):
        remap(np.array([1]), np.array([0, 2]), None, 3)
