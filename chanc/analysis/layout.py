"""Axis layouts: where the channels of a tensor are.

An axis is a row-major product of factors. A *field* is an array of channel labels over some of the factors, its slots;
it broadcasts over all others, so the spatial axes of an image cost nothing. A position of the tensor exists as long as
the labels of every field at that position are kept. Most tensors have one field with one slot: the channel axis.

Structural operators are executed on layouts: nothing here knows about convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from chanc.analysis import dims
from chanc.analysis.dims import Dim, Size
from chanc.analysis.disjoint_set import IntArray

Slot = tuple[int, int]
Factors = tuple[Size, ...]


class Opaque(Exception):
    """A rule does not understand what a node does to its channels; the text says why."""


class Field(NamedTuple):
    """Channel labels; dimension k of `labels` runs along factor `slots[k]`, which is (axis, index of the factor)."""

    slots: tuple[Slot, ...]
    labels: IntArray

    def __repr__(self) -> str:
        return f"<Field: {self.labels.size} labels on {self.slots}>"

    def on(self, axis: int) -> bool:
        """Whether the labels vary along that axis."""
        slots = self.slots
        if len(slots) == 1:
            return slots[0][0] == axis
        return any(slot[0] == axis for slot in slots)

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes along which the labels vary, ascending."""
        if len(self.slots) == 1:
            return (self.slots[0][0],)
        return tuple(sorted({axis for axis, _ in self.slots}))


class Layout(NamedTuple):
    """The axes of a tensor as products of factors, and the channel labels on them.

    `why` tells what stands where no labels do ("graph input 'x'"); it becomes the reason of what it pins. Written out,
    a star marks the axes with channels.
    """

    axes: tuple[Factors, ...]
    fields: tuple[Field, ...] = ()
    why: str = ""

    def __repr__(self) -> str:
        sizes = " x ".join(f"{self.size(k)}{'*' if self.on(k) else ''}" for k in range(len(self.axes)))
        return f"<Layout {sizes or 'of a scalar'}{f', {self.why}' if self.why else ''}>"

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.axes)

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The size of each axis."""
        return tuple(dims.product(factors) for factors in self.axes)

    def size(self, axis: int) -> Size:
        """The size of one axis."""
        factors = self.axes[axis]
        return factors[0] if len(factors) == 1 else dims.product(factors)

    def on(self, axis: int) -> tuple[Field, ...]:
        """The fields that vary along an axis."""
        fields = self.fields
        if len(fields) == 1:
            return fields if fields[0].on(axis) else ()
        return tuple([field for field in fields if field.on(axis)]) if fields else ()


def plain(sizes: Iterable[Size], why: str = "") -> Layout:
    """A layout without channels."""
    return Layout(tuple(factors_of(size) for size in sizes), (), why)


def factors_of(size: Size) -> Factors:
    """The factors of an axis without channels: none for size 1."""
    return () if isinstance(size, int) and size == 1 else (size,)


def vector(labels: IntArray, axis: int, sizes: Sequence[Size], why: str = "") -> Layout:
    """A layout with one field along one axis; `sizes` gives all other axes."""
    axes = [factors_of(size) for size in sizes]
    axes[axis] = (labels.size,)
    return Layout(tuple(axes), (Field(((axis, 0),), labels),), why)


def transpose(layout: Layout, permutation: Sequence[int]) -> Layout:
    """Axis k of the result is axis `permutation[k]` of the input."""
    home = {old: new for new, old in enumerate(permutation)}
    axes = tuple(layout.axes[old] for old in permutation)
    return Layout(axes, _moved(layout.fields, home), layout.why)


def insert_axes(layout: Layout, positions: Sequence[int]) -> Layout:
    """New axes of size 1 at those positions of the result."""
    rank = layout.rank + len(positions)
    kept = [k for k in range(rank) if k not in set(positions)]
    axes: list[Factors] = [()] * rank
    for old, new in enumerate(kept):
        axes[new] = layout.axes[old]
    return Layout(tuple(axes), _moved(layout.fields, dict(enumerate(kept))), layout.why)


def drop_axes(layout: Layout, positions: Sequence[int]) -> Layout:
    """Without those axes, on which no field may vary."""
    kept = [k for k in range(layout.rank) if k not in set(positions)]
    home = {old: new for new, old in enumerate(kept)}
    return Layout(tuple(layout.axes[k] for k in kept), _moved(layout.fields, home), layout.why)


def without(layout: Layout, axis: int, size: Size = 1) -> Layout:
    """The axis replaced by one without channels; fields that vary along it are dropped."""
    axes = list(layout.axes)
    axes[axis] = factors_of(size)
    return Layout(tuple(axes), tuple(f for f in layout.fields if not f.on(axis)), layout.why)


def with_axes(layout: Layout, sizes: Mapping[int, Size]) -> Layout:
    """The layout with other sizes on axes without labels."""
    axes = [factors_of(sizes[k]) if k in sizes else factors for k, factors in enumerate(layout.axes)]
    return Layout(tuple(axes), layout.fields, layout.why)


def _moved(fields: Iterable[Field], home: dict[int, int]) -> tuple[Field, ...]:
    return tuple(Field(tuple((home[axis], k) for axis, k in f.slots), f.labels) for f in fields)


def reshape(layout: Layout, target: Sequence[Size]) -> Layout:
    """The layout seen through a row-major reshape to the sizes `target` (ONNX Reshape, all sizes resolved).

    Raises Opaque where labelled factors and target sizes have no common refinement.
    """
    return _regroup(_refine(layout, tuple(target)))


def refactor(layout: Layout, axis: int, factors: Factors) -> Layout:
    """The same tensor with one axis written as the given factors, a refinement of those it has."""
    if layout.axes[axis] == factors:
        return layout
    target: list[Size] = []
    groups: list[list[int]] = []
    for k, size in enumerate(layout.sizes):
        parts = factors if k == axis else (size,)
        groups.append(list(range(len(target), len(target) + len(parts))))
        target += parts
    flat = _regroup(_refine(layout, tuple(target)), as_is=True)
    return _joined(flat, groups)


def merge(layout: Layout, axis: int) -> Layout:
    """The same tensor with one axis written as a single factor, labels spelled out for each of its positions."""
    factors = layout.axes[axis]
    if len(factors) <= 1 or not layout.on(axis):
        return layout
    if any(isinstance(size, Dim) for size in factors):
        raise Opaque(f"channels are mixed with an axis of unknown size ({layout.size(axis)})")
    total = int(np.prod([int(str(s)) for s in factors]))
    axes = list(layout.axes)
    axes[axis] = (total,)
    return Layout(
        tuple(axes), tuple(_spelled(f, axis, factors) if f.on(axis) else f for f in layout.fields), layout.why
    )


def _spelled(field: Field, axis: int, factors: Factors) -> Field:
    """One field with its slots on `axis` replaced by a single slot over all positions of the axis (last dimension)."""
    others = [k for k, slot in enumerate(field.slots) if slot[0] != axis]
    mine = sorted((slot[1], k) for k, slot in enumerate(field.slots) if slot[0] == axis)
    labels = field.labels.transpose(others + [k for _, k in mine])
    lead = labels.shape[: len(others)]
    shape = list(lead) + [1] * len(factors)
    for factor, k in mine:
        shape[len(lead) + factor] = field.labels.shape[k]
    full = [*lead, *(int(str(s)) for s in factors)]
    spelled = np.broadcast_to(labels.reshape(shape), full).reshape(*lead, -1)
    return Field((*(field.slots[k] for k in others), (axis, 0)), spelled)


def take(layout: Layout, axis: int, indices: IntArray) -> Layout:
    """The positions `indices` (1-D) of an axis, in that order."""
    layout = merge(layout, axis)
    axes = list(layout.axes)
    labelled = bool(layout.on(axis))
    axes[axis] = (len(indices),) if labelled else factors_of(len(indices))
    fields = tuple(
        Field(f.slots, np.take(f.labels, indices, axis=f.slots.index((axis, 0)))) if f.on(axis) else f
        for f in layout.fields
    )
    return Layout(tuple(axes), fields, layout.why)


def axis_labels(field: Field, axis: int) -> IntArray:
    """The labels of a merged axis as [positions of the axis, everything else the field varies along]."""
    if len(field.slots) == 1:
        return field.labels[:, None]
    where = field.slots.index((axis, 0))
    return np.moveaxis(field.labels, where, 0).reshape(field.labels.shape[where], -1)


def narrowed(field: Field, axes: Iterable[int]) -> Field | None:
    """The field at position 0 of those axes; None where it varies along nothing else."""
    gone = set(axes)
    index = tuple(0 if slot[0] in gone else slice(None) for slot in field.slots)
    slots = tuple(slot for slot in field.slots if slot[0] not in gone)
    return Field(slots, field.labels[index]) if slots else None


def common_factors(one: Factors, two: Factors) -> Factors | None:
    """The coarsest factorisation that refines both, or None where there is none."""
    if one == two:
        return one
    left, right = list(one), list(two)
    out: list[Size] = []
    while left and right:
        a, b = left.pop(0), right.pop(0)
        if a == b:
            out.append(a)
            continue
        if (rest := dims.divide(a, b)) is not None:
            out.append(b)
            left.insert(0, rest)
        elif (rest := dims.divide(b, a)) is not None:
            out.append(a)
            right.insert(0, rest)
        else:
            return None
    return tuple(out) if not left and not right else None


Piece = tuple[Size, int, int]


def _refine(layout: Layout, target: tuple[Size, ...]) -> tuple[Layout, list[Piece], tuple[Size, ...]]:
    """Cut factors and target sizes into common pieces (size, source factor, target axis).

    Where they have no common pieces the labelled factors in question are spelled out as one factor first.
    """
    source = [(size, axis, k) for axis, factors in enumerate(layout.axes) for k, size in enumerate(factors)]
    varying = {slot for field in layout.fields for slot in field.slots}
    pieces: list[Piece] = []
    i = j = 0
    mark = (0, 0, 0)
    rest: Size | None = None
    want: Size | None = None
    while i < len(source) or j < len(target):
        if rest is None and want is None:
            mark = (i, j, len(pieces))
        if i == len(source):
            if want is not None or target[j] != 1:
                raise Opaque("a reshape whose sizes don't fit")
            j += 1
            continue
        size = source[i][0] if rest is None else rest
        if j == len(target):
            if size == 1:
                pieces.append((1, i, len(target) - 1))
                i, rest = i + 1, None
                continue
            raise Opaque("a reshape whose sizes don't fit")
        goal = target[j] if want is None else want
        if size == goal:
            pieces.append((size, i, j))
            i, j, rest, want = i + 1, j + 1, None, None
        elif goal == 1:
            j, want = j + 1, None
        elif (cut := dims.divide(goal, size)) is not None:
            pieces.append((size, i, j))
            i, rest, want = i + 1, None, cut
        elif (cut := dims.divide(size, goal)) is not None:
            pieces.append((goal, i, j))
            j, rest, want = j + 1, cut, None
        else:
            return _refine(_block(layout, source, varying, target, mark[0], mark[1]), target)
    return layout, pieces, target


def _block(
    layout: Layout, source: list[tuple[Size, int, int]], varying: set[Slot], target: tuple[Size, ...], i: int, j: int
) -> Layout:
    """The layout with the factors from i on, up to where they meet the target again, spelled out as one factor."""
    have: Size = 1
    goal: Size = 1
    a, b = i, j
    while a == i or b == j or have != goal:
        if a < len(source) and (b == len(target) or not _larger(have, goal) or a == i):
            have, a = dims.multiply(have, source[a][0]), a + 1
        elif b < len(target):
            goal, b = dims.multiply(goal, target[b]), b + 1
        else:
            raise Opaque("a reshape whose sizes don't fit")
    if not any((axis, k) in varying for _, axis, k in source[i:a]):
        return _unlabelled_block(layout, source, i, a, have)
    if isinstance(have, Dim):
        raise Opaque("a reshape that mixes channels with an axis of unknown size")
    if a - i == 1:
        raise Opaque("a reshape that cuts channels unevenly")
    flat = Layout((tuple(size for size, _, _ in source),), (), layout.why)
    index = {(axis, k): n for n, (_, axis, k) in enumerate(source)}
    fields = tuple(Field(tuple((0, index[s]) for s in f.slots), f.labels) for f in layout.fields)
    parts = tuple(Layout(flat.axes, (f,)) for f in fields)
    spelled = [_spell_range(part, i, a, have) for part in parts]
    axes = ((*flat.axes[0][:i], have, *flat.axes[0][a:]),)
    return Layout(axes, tuple(spelled), layout.why)


def _larger(a: Size, b: Size) -> bool:
    return isinstance(a, int) and isinstance(b, int) and a > b


def _unlabelled_block(layout: Layout, source: list[tuple[Size, int, int]], i: int, a: int, total: Size) -> Layout:
    """A flat layout in which the label-free factors i..a are one."""
    index = {(axis, k): (n if n < i else n - (a - i) + 1) for n, (_, axis, k) in enumerate(source) if n < i or n >= a}
    if a - i == 1:
        raise Opaque("a reshape whose sizes don't fit")
    sizes = (*(s for s, _, _ in source[:i]), total, *(s for s, _, _ in source[a:]))
    fields = tuple(Field(tuple((0, index[s]) for s in f.slots), f.labels) for f in layout.fields)
    return Layout((sizes,), fields, layout.why)


def _spell_range(part: Layout, i: int, a: int, total: int) -> Field:
    """The single field of a flat layout with factors i..a merged into one."""
    (field,), factors = part.fields, part.axes[0]
    shift = a - i - 1

    def place(k: int) -> int:
        return k if k < i else k - shift

    inside = [slot for slot in field.slots if i <= slot[1] < a]
    if not inside:
        return Field(tuple((0, place(k)) for _, k in field.slots), field.labels)
    local = Field(tuple((1, k - i) if i <= k < a else (0, k) for _, k in field.slots), field.labels)
    merged = _spelled(local, 1, factors[i:a])
    return Field(tuple((0, i) if axis == 1 else (0, place(k)) for axis, k in merged.slots), merged.labels)


def _regroup(refined: tuple[Layout, list[Piece], tuple[Size, ...]], as_is: bool = False) -> Layout:
    """Put the pieces of a refinement into the axes of the target; `as_is` keeps label-free neighbours apart."""
    layout, pieces, target = refined
    source = [(axis, k) for axis, factors in enumerate(layout.axes) for k in range(len(factors))]
    axes: list[list[Size]] = [[] for _ in target]
    homes: dict[Slot, list[tuple[Size, Slot]]] = {slot: [] for slot in source}
    for size, src, axis in pieces:
        homes[source[src]].append((size, (axis, len(axes[axis]))))
        axes[axis].append(size)
    fields = []
    for field in layout.fields:
        shape: list[int] = []
        slots: list[Slot] = []
        for slot in field.slots:
            shape += [int(str(size)) for size, _ in homes[slot]]
            slots += [home for _, home in homes[slot]]
        fields.append(Field(tuple(slots), field.labels.reshape(shape)))
    result = Layout(tuple(tuple(f) for f in axes), tuple(fields), layout.why)
    return result if as_is else tidy(result)


def _joined(layout: Layout, groups: list[list[int]]) -> Layout:
    """Axes put together in groups; each keeps the factors it has."""
    home: dict[Slot, Slot] = {}
    axes: list[Factors] = []
    for group in groups:
        factors: list[Size] = []
        for axis in group:
            for k, size in enumerate(layout.axes[axis]):
                home[axis, k] = (len(axes), len(factors))
                factors.append(size)
        axes.append(tuple(factors))
    fields = tuple(Field(tuple(home[s] for s in f.slots), f.labels) for f in layout.fields)
    return Layout(tuple(axes), fields, layout.why)


def regrouped(layout: Layout, sizes: Sequence[Size]) -> Layout:
    """The factors of a layout put into axes of the given sizes, as before a reshape to it.

    Where an axis of those sizes doesn't begin and end with a factor (unlabelled ones are one by now) they stand alone.
    """
    source = [(size, (axis, k)) for axis, factors in enumerate(layout.axes) for k, size in enumerate(factors)]
    home: dict[Slot, Slot] = {}
    axes: list[Factors] = []
    i = j = 0
    while j < len(sizes) or i < len(source):
        first, start, goal = j, i, sizes[j] if j < len(sizes) else 1
        have: Size = 1
        j += 1
        while have != goal or (goal == 1 and i < len(source) and source[i][0] == 1):
            if i < len(source) and (dims.divide(goal, have) is not None or j >= len(sizes)):
                have, i = dims.multiply(have, source[i][0]), i + 1
            elif j < len(sizes):
                goal, j = dims.multiply(goal, sizes[j]), j + 1
            else:
                return Layout(layout.axes, (), layout.why)
        groups = [range(start, i)] if j - first == 1 else [range(k, k + 1) for k in range(start, i)]
        for group in groups:
            home.update({source[k][1]: (len(axes), n) for n, k in enumerate(group)})
            axes.append(tuple(source[k][0] for k in group))
    fields = tuple(Field(tuple(home[slot] for slot in f.slots), f.labels) for f in layout.fields)
    return Layout(tuple(axes), fields)


def tidy(layout: Layout) -> Layout:
    """Neighbouring factors without labels become one: their order carries no meaning."""
    if all(len(factors) <= 1 for factors in layout.axes):
        return layout
    varying = {slot for field in layout.fields for slot in field.slots}
    home: dict[Slot, Slot] = {}
    axes: list[Factors] = []
    for axis, factors in enumerate(layout.axes):
        kept: list[Size] = []
        open_run = False
        for k, size in enumerate(factors):
            free = (axis, k) not in varying
            if free and open_run:
                kept[-1] = dims.multiply(kept[-1], size)
            else:
                home[axis, k] = (axis, len(kept))
                kept.append(size)
            open_run = free
        axes.append(tuple(kept))
    fields = tuple(Field(tuple(home[s] for s in f.slots), f.labels) for f in layout.fields)
    return Layout(tuple(axes), fields, layout.why)
