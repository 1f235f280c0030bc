"""A layout through a reshape: factors cut and merged until they fit other sizes.

Both sides are products in row-major order, so that they meet in common pieces; where labelled factors have none, their
labels are spelled out position by position first.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from chanc.analysis import dims
from chanc.analysis.dims import Dim, Size
from chanc.analysis.layout import Factors, Field, Layout, Opaque, Slot, moved, spelled


def reshape(layout: Layout, target: Sequence[Size]) -> Layout:
    """The layout seen through a row-major reshape to the sizes `target` (ONNX Reshape, all sizes resolved).

    Raises Opaque where labelled factors and target sizes have no common refinement.
    """
    fields, sizes = layout.fields, tuple(target)
    plan = _plan(layout.axes, tuple([(part.slots, part.labels.shape) for part in fields]), sizes)
    if plan is None:
        return _regroup(_refine(layout, sizes))
    axes, places = plan
    return Layout(axes, tuple([_placed(part, *place) for part, place in zip(fields, places, strict=True)]), layout.why)


def _placed(part: Field, slots: tuple[Slot, ...], shape: tuple[int, ...]) -> Field:
    # A line as it was made is united at once, a view of it label by label.
    return Field(slots, part.labels if part.labels.shape == shape else part.labels.reshape(shape))


Place = tuple[tuple[Slot, ...], tuple[int, ...]]
"""The slots of a field, and the shape of its labels."""


@functools.lru_cache(maxsize=1 << 10)
def _plan(
    axes: tuple[Factors, ...], fields: tuple[Place, ...], target: tuple[Size, ...]
) -> tuple[tuple[Factors, ...], tuple[Place, ...]] | None:
    """What a reshape makes of axes and fields, whose labels stay in their order; None where they don't.

    The blocks of a network are reshaped alike, so that most are asked for again and again.
    """
    zero = np.zeros((), dtype=np.int64)
    blank = Layout(axes, tuple(Field(slots, np.broadcast_to(zero, shape)) for slots, shape in fields))
    refined = _refine(blank, target)
    if refined[0] is not blank:
        return None
    result = _regroup(refined)
    return result.axes, tuple((part.slots, part.labels.shape) for part in result.fields)


def but_for_ones(layout: Layout, target: Sequence[Size]) -> Layout | None:
    """The layout where a reshape only takes axes of size 1 away or puts them in; None where it does more."""
    longer = [axis for axis, factors in enumerate(layout.axes) if factors]
    places = [k for k, size in enumerate(target) if size != 1]
    if [layout.axes[axis] for axis in longer] != [(target[k],) for k in places]:
        return None
    axes: list[Factors] = [()] * len(target)
    for axis, place in zip(longer, places, strict=True):
        axes[place] = layout.axes[axis]
    return Layout(tuple(axes), moved(layout.fields, dict(zip(longer, places, strict=True))), layout.why)


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


def regrouped(layout: Layout, sizes: Sequence[Size]) -> Layout:
    """The factors of a layout put into axes of the given sizes, as before a reshape to it.

    Where an axis of those sizes doesn't begin and end with a factor (unlabelled ones are one by now) they stand alone.
    """
    found = _regrouping(layout.axes, tuple(sizes))
    if found is None:
        return Layout(layout.axes, (), layout.why)
    axes, home = found
    return Layout(axes, tuple([Field(tuple([home[slot] for slot in f.slots]), f.labels) for f in layout.fields]))


@functools.lru_cache(maxsize=1 << 10)
def _regrouping(
    factored: tuple[Factors, ...], sizes: tuple[Size, ...]
) -> tuple[tuple[Factors, ...], dict[Slot, Slot]] | None:
    """The axes of `regrouped`, and where each factor is among them; None where the sizes are others."""
    source = [(size, (axis, k)) for axis, factors in enumerate(factored) for k, size in enumerate(factors)]
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
                return None
        groups = [range(start, i)] if j - first == 1 else [range(k, k + 1) for k in range(start, i)]
        for group in groups:
            home.update({source[k][1]: (len(axes), n) for n, k in enumerate(group)})
            axes.append(tuple(source[k][0] for k in group))
    return tuple(axes), home


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
    merged = spelled(local, 1, factors[i:a])
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
