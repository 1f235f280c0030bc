"""Axis layouts against numpy: every operation is executed on an explicit array of labels, too."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chanc.analysis.dims import Dim, Size, multiply, unknown
from chanc.analysis.layout import (
    Field,
    Layout,
    Opaque,
    drop_axes,
    insert_axes,
    merge,
    narrowed,
    plain,
    take,
    transpose,
    vector,
    without,
)
from chanc.analysis.reshaping import common_factors, refactor, reshape, tidy

N, H, W = unknown("N"), unknown("H"), unknown("W")
VALUES = {"N": 2, "H": 3, "W": 5}
FAST = settings(max_examples=50, deadline=None, derandomize=True)


def number(size: Size, values: Mapping[str, int] = VALUES) -> int:
    """A size with its unknowns filled in."""
    return size if isinstance(size, int) else size.factor * math.prod(values[atom] for atom in size.atoms)


def spelled(layout: Layout) -> list[np.ndarray]:
    """Each field's label at every position of the tensor."""
    slots = [(axis, k) for axis, factors in enumerate(layout.axes) for k in range(len(factors))]
    shape = [number(layout.axes[axis][k]) for axis, k in slots]
    sizes = [number(size) for size in layout.sizes]
    out = []
    for field in layout.fields:
        order = sorted(range(len(field.slots)), key=lambda n, f=field: f.slots[n])
        wide = [shape[k] if slot in field.slots else 1 for k, slot in enumerate(slots)]
        labels = field.labels.transpose(order).reshape(wide)
        out.append(np.broadcast_to(labels, shape).reshape(sizes))
    return out


def agree(layout: Layout, expected: list[np.ndarray]) -> None:
    """The layout's labels are those of the arrays."""
    found = spelled(layout)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@st.composite
def layouts(draw: st.DrawFn, known: bool = True) -> Layout:
    """Up to four axes of up to three factors each; one or two fields over some of the factors."""
    sizes = st.sampled_from([1, 2, 3, 4, 6] if known else [1, 2, 3, 4, 6, N, H, multiply(2, W)])
    axes = tuple(tuple(draw(st.lists(sizes, max_size=3))) for _ in range(draw(st.integers(1, 4))))
    slots = [(a, k) for a, factors in enumerate(axes) for k, n in enumerate(factors) if isinstance(n, int)]
    fields, start = [], 0
    for _ in range(draw(st.integers(1, 2))):
        mine = draw(st.permutations(slots))[: draw(st.integers(1, 3))]
        if mine:
            shape = [axes[a][k] for a, k in mine]
            fields.append(Field(tuple(mine), np.arange(start, start + math.prod(shape)).reshape(shape)))
            start += math.prod(shape)
    return Layout(axes, tuple(fields))


@st.composite
def factorings(draw: st.DrawFn, total: int) -> list[int]:
    """Sizes whose product is `total`, ones among them."""
    sizes = []
    while total > 1:
        divisor = draw(st.sampled_from([n for n in range(1, total + 1) if total % n == 0]))
        sizes.append(divisor)
        total //= divisor
        if len(sizes) > 5:
            break
    return [*sizes, total]


@FAST
@given(layouts(), st.data())
def test_reshape(layout: Layout, data: st.DataObject) -> None:
    target = data.draw(factorings(math.prod(number(n) for n in layout.sizes)))
    agree(reshape(layout, target), [labels.reshape(target) for labels in spelled(layout)])


@FAST
@given(layouts(known=False), st.data())
def test_reshape_with_unknown_sizes(layout: Layout, data: st.DataObject) -> None:
    """Factors in a row put into axes anew, some of them cut in two: unknown ones move as they are."""
    parts: list[Size] = []
    for size in (n for factors in layout.axes for n in factors):
        cuts = [n for n in (2, 3) if isinstance(size, int) and size % n == 0]
        cut = data.draw(st.sampled_from([1, *cuts]))
        parts += [size] if cut == 1 else [cut, size // cut if isinstance(size, int) else size]
    target: list[Size] = [1]
    for part in parts:
        if data.draw(st.booleans()):
            target.append(part)
        else:
            target[-1] = multiply(target[-1], part)
    expected = [labels.reshape([number(n) for n in target]) for labels in spelled(layout)]
    agree(reshape(layout, target), expected)


@FAST
@given(layouts(), st.data())
def test_there_and_back(layout: Layout, data: st.DataObject) -> None:
    target = data.draw(factorings(math.prod(number(n) for n in layout.sizes)))
    agree(reshape(reshape(layout, target), layout.sizes), spelled(layout))


@FAST
@given(layouts(known=False), st.data())
def test_transpose(layout: Layout, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(layout.rank)))
    agree(transpose(layout, order), [labels.transpose(order) for labels in spelled(layout)])


@FAST
@given(layouts(known=False), st.data())
def test_insert_axes(layout: Layout, data: st.DataObject) -> None:
    places = data.draw(st.sets(st.integers(0, layout.rank), max_size=2))
    expected = [np.expand_dims(labels, tuple(places)) for labels in spelled(layout)]
    agree(insert_axes(layout, sorted(places)), expected)


@FAST
@given(layouts(), st.data())
def test_take(layout: Layout, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, layout.rank - 1))
    indices = np.array(data.draw(st.lists(st.integers(0, number(layout.size(axis)) - 1), min_size=1, max_size=7)))
    agree(take(layout, axis, indices), [np.take(labels, indices, axis=axis) for labels in spelled(layout)])


@FAST
@given(layouts(known=False))
def test_merge_and_tidy_change_nothing(layout: Layout) -> None:
    agree(tidy(layout), spelled(layout))
    for axis in range(layout.rank):
        if not any(isinstance(n, Dim) for n in layout.axes[axis]):
            agree(merge(layout, axis), spelled(layout))


@FAST
@given(layouts(), st.data())
def test_refactor(layout: Layout, data: st.DataObject) -> None:
    """An axis cut into finer factors still has the same labels."""
    axis = data.draw(st.integers(0, layout.rank - 1))
    finer: list[int] = []
    for size in layout.axes[axis]:
        assert isinstance(size, int)
        cut = data.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
        finer += [n for n in (cut, size // cut) if n > 1]
    assume(finer)
    found = refactor(layout, axis, tuple(finer))
    assert math.prod(number(n) for n in found.axes[axis]) == number(layout.size(axis))
    agree(found, spelled(layout))


@FAST
@given(st.lists(st.sampled_from([2, 3, 4, 6]), max_size=4), st.data())
def test_common_factors_refine_both(one: list[int], data: st.DataObject) -> None:
    two = [n for n in data.draw(factorings(math.prod(one))) if n > 1]
    found = common_factors(tuple(one), tuple(two))
    if found is None:
        return
    assert math.prod(number(n) for n in found) == math.prod(one)
    ends = set(np.cumprod([number(n) for n in found]).tolist())
    assert set(np.cumprod(one).tolist()) <= ends
    assert set(np.cumprod(two).tolist()) <= ends


def image(channels: int = 6) -> Layout:
    return vector(np.arange(channels), 1, [N, channels, H, W])


def test_flatten_repeats_each_channel_for_every_pixel() -> None:
    flat = reshape(vector(np.arange(3), 1, [N, 3, 4, 4]), [N, 48])
    assert flat.axes == ((N,), (3, 16))
    np.testing.assert_array_equal(spelled(flat)[0][0], np.repeat(np.arange(3), 16))


def test_spatial_axes_cost_nothing() -> None:
    big = reshape(vector(np.arange(3), 1, [N, 3, 4096, 4096]), [N, 3 * 4096 * 4096])
    assert big.fields[0].labels.size == 3


def test_unknown_spatial_axes_are_merged_and_split_again() -> None:
    flat = reshape(image(), [N, 6, multiply(H, W)])
    assert flat.sizes == (N, 6, Dim(1, ("H", "W")))
    agree(reshape(flat, [N, 6, H, W]), spelled(image()))


def test_unknown_sizes_stand_still_while_channels_are_split() -> None:
    split = reshape(image(), [N, 2, 3, H, W])
    assert split.axes == ((N,), (2,), (3,), (H,), (W,))
    agree(split, [labels.reshape(2, 2, 3, 3, 5) for labels in spelled(image())])


def test_misaligned_blocks_are_spelled_out() -> None:
    """6 channels of 2 x 2 pixels seen as 4 rows of 6: channels are cut in the middle of their pixels."""
    layout = vector(np.arange(6), 0, [6, 2, 2])
    found = reshape(layout, [4, 6])
    np.testing.assert_array_equal(spelled(found)[0], np.repeat(np.arange(6), 4).reshape(4, 6))


def test_misaligned_with_an_unknown_size_is_refused() -> None:
    with pytest.raises(Opaque, match="unknown size"):
        reshape(image(), [multiply(2, N), multiply(W, 3), H])


@pytest.mark.parametrize("target", [[7], [6, 2], [2, 2]])
def test_sizes_that_do_not_fit_are_refused(target: list[int]) -> None:
    with pytest.raises(Opaque):
        reshape(vector(np.arange(6), 0, [6]), target)


def test_a_reshape_to_ones() -> None:
    layout = vector(np.arange(1), 1, [N, 1, 1])
    found = reshape(layout, [1, N, 1])
    assert found.sizes == (1, N, 1)


def test_a_reshape_that_only_drops_ones_keeps_the_line() -> None:
    """What is united by whole lines is so behind a Flatten as well."""
    layout = vector(np.arange(6), 1, [N, 6, 1, 1])
    found = reshape(layout, [N, 6])
    assert found.fields[0].labels is layout.fields[0].labels
    assert found == vector(layout.fields[0].labels, 1, [N, 6])
    assert reshape(found, [1, N, 1, 6]).axes == ((), (N,), (), (6,))


def test_without_and_drop() -> None:
    layout = image()
    assert without(layout, 1, 6) == plain([N, 6, H, W])
    assert without(layout, 1).sizes == (N, 1, H, W)
    agree(drop_axes(layout, [2, 3]), [labels[:, :, 0, 0] for labels in spelled(layout)])


def test_narrowed() -> None:
    field = Field(((1, 0), (2, 0)), np.arange(6).reshape(2, 3))
    rest = narrowed(field, [1])
    assert rest is not None
    assert rest.slots == ((2, 0),)
    np.testing.assert_array_equal(rest.labels, np.arange(3))
    assert narrowed(field, [1, 2]) is None
