"""Layouts that are broadcast against each other: labels that meet are one channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.fixing import across, fix, strip
from chanc.analysis.layout import Factors, Field, Layout, Opaque, factors_of, insert_axes, merge
from chanc.analysis.notes import Notes
from chanc.analysis.reshaping import common_factors, refactor
from chanc.ops import Trait, has


def together(notes: Notes, layouts: Sequence[Layout]) -> Layout:
    """The layout of an elementwise operator over broadcast operands; labels that meet are one channel."""
    first = layouts[0]
    axes = first.axes
    for other in layouts[1:]:
        if other is first:
            continue
        stretched = _stretched(axes, other.axes) if _alike(first, other) else None
        if stretched is None:
            return _aligned(notes, layouts)
        axes = stretched
    for other in layouts[1:]:
        for a, b in zip(first.fields, other.fields, strict=True):
            if a.labels is not b.labels:
                _one(notes, a.labels, b.labels)
    return first if axes is first.axes else Layout(axes, first.fields, first.why)


def _alike(a: Layout, b: Layout) -> bool:
    """Whether two layouts have labels in the same places."""
    if len(a.axes) != len(b.axes) or len(a.fields) != len(b.fields):
        return False
    for x, y in zip(a.fields, b.fields, strict=True):
        if x.slots != y.slots or x.labels.shape != y.labels.shape:
            return False
    return True


def _stretched(a: tuple[Factors, ...], b: tuple[Factors, ...]) -> tuple[Factors, ...] | None:
    """The axes of two operands together where they differ in nothing but sizes of 1; None where they differ in more."""
    if a is b or a == b:
        return a
    for x, y in zip(a, b, strict=True):
        if x != y and x and y:
            return None
    return tuple([x or y for x, y in zip(a, b, strict=True)])


def _aligned(notes: Notes, layouts: Sequence[Layout]) -> Layout:
    """Operands that have their labels in other places, axis by axis."""
    rank = max(layout.rank for layout in layouts)
    operands = [
        layout if layout.rank == rank else insert_axes(layout, range(rank - layout.rank)) for layout in layouts
    ]
    for axis in range(rank):
        if len([o for o in operands if o.axes[axis]]) > 1:
            operands = _align(notes, operands, axis)
    axes = tuple([max([o.axes[axis] for o in operands], key=len) for axis in range(rank)])
    fields: list[Field] = []
    for operand in operands:
        for part in operand.fields:
            _meet(notes, fields, part)
    why = next((o.why for o in operands if o.why and bare(o)), "")
    return Layout(axes, tuple(fields), why)


def bare(layout: Layout) -> bool:
    """Whether an axis holds values that are not channels: what they are is no news of one that has nothing else."""
    return any(axis and not layout.on(k) and layout.size(k) != 1 for k, axis in enumerate(layout.axes))


def _align(notes: Notes, operands: list[Layout], axis: int) -> list[Layout]:
    """Write an axis that several operands have with the same factors; pin what meets an axis without channels."""
    if len({o.axes[axis] for o in operands}) > 1:
        operands = [_without_ones(notes, o, axis) for o in operands]
    full = [o for o in operands if o.axes[axis] and o.size(axis) != 1]
    if not full:
        return operands
    if not any(o.on(axis) for o in full):
        ones = [strip(notes, o, axis, "it is broadcast") if o.on(axis) else o for o in operands]
        known = next((o.axes[axis] for o in full if all(isinstance(s, int) for s in o.axes[axis])), full[0].axes[axis])
        return [_replaced(o, axis, known) if o.axes[axis] else o for o in ones]
    known_sizes = {size for o in full if isinstance(size := o.size(axis), int)}
    if len(known_sizes) > 1:
        raise Opaque(f"its operands have {' and '.join(map(str, sorted(known_sizes)))} channels")
    bare = next((o for o in full if not o.on(axis)), None)
    if bare is not None or any(o.size(axis) != full[0].size(axis) for o in full):
        reason = f"it is combined with {bare.why or 'values that are not channels'}" if bare else "sizes differ"
        stripped = [fix(notes, o, axis, reason) if o.on(axis) else o for o in operands]
        return [_replaced(o, axis, factors_of(full[0].size(axis))) if o.axes[axis] else o for o in stripped]
    common: Factors | None = full[0].axes[axis]
    for operand in full[1:]:
        common = common_factors(common, operand.axes[axis]) if common is not None else None
    return [_written(notes, operand, axis, common) for operand in operands]


def _without_ones(notes: Notes, operand: Layout, axis: int) -> Layout:
    """An axis without its factors of size 1 beside others: a single channel there stays, the others lie as they did."""
    factors = operand.axes[axis]
    if len(factors) < 2 or 1 not in factors:
        return operand
    kept = [k for k, size in enumerate(factors) if size != 1]
    home = {(axis, k): (axis, n) for n, k in enumerate(kept)}
    gone = {(axis, k) for k in range(len(factors)) if k not in kept}
    fields = []
    for part in operand.fields:
        slots = tuple(home.get(slot, slot) for slot in part.slots if slot not in gone)
        lengths = [n for slot, n in zip(part.slots, part.labels.shape, strict=True) if slot not in gone]
        if slots:
            fields.append(Field(slots, part.labels.reshape(lengths)))
        else:
            notes.pin(part.labels, "it is a single channel on an axis of others")
    axes = list(operand.axes)
    axes[axis] = tuple(factors[k] for k in kept)
    return Layout(tuple(axes), tuple(fields), operand.why)


def _written(notes: Notes, operand: Layout, axis: int, common: Factors | None) -> Layout:
    """An operand with an axis in the factors that all have in common, or in one where they have none."""
    if not operand.axes[axis]:
        return operand
    if operand.size(axis) == 1:
        return strip(notes, operand, axis, "it is broadcast")
    return refactor(operand, axis, common) if common else merge(operand, axis)


def _replaced(layout: Layout, axis: int, factors: Factors) -> Layout:
    axes = list(layout.axes)
    axes[axis] = factors
    return Layout(tuple(axes), layout.fields, layout.why)


def _meet(notes: Notes, fields: list[Field], part: Field) -> None:
    """Add a field to those of the other operands."""
    for k, other in enumerate(fields):
        shared = set(other.slots).intersection(part.slots)
        if not shared:
            continue
        if len(shared) == len(other.slots) == len(part.slots):
            order = [part.slots.index(slot) for slot in other.slots]
            # A line as it was made is united at once, a view of it label by label.
            _one(notes, other.labels, part.labels.transpose(order) if len(order) > 1 else part.labels)
            return
        if len(shared) == len(part.slots):
            _couple_broadcast(notes, other, part)
            return
        if len(shared) == len(other.slots):
            _couple_broadcast(notes, part, other)
            del fields[k]
            _meet(notes, fields, part)
            return
        narrow = across(notes, part, [n for n, s in enumerate(part.slots) if s in shared])
        del fields[k]
        _meet(notes, fields, across(notes, other, [n for n, s in enumerate(other.slots) if s in shared]))
        _meet(notes, fields, narrow)
        return
    fields.append(part)


def _one(notes: Notes, left: IntArray, right: IntArray) -> None:
    """The labels of operands that meet; weights that are joined or added play one role, told by the first."""
    notes.same(left, right)
    if notes.node.outputs[0] in notes.findings.weights and has(notes.node, Trait.ADDITIVE):
        notes.findings.roles.join(left, right)


def _couple_broadcast(notes: Notes, wide: Field, narrow: Field) -> None:
    """Labels that vary along more axes go with those that they meet along fewer."""
    order = [narrow.slots.index(slot) for slot in wide.slots if slot in narrow.slots]
    shape = [n if slot in narrow.slots else 1 for slot, n in zip(wide.slots, wide.labels.shape, strict=True)]
    spread = narrow.labels.transpose(order).reshape(shape)
    _not_crossed(notes, wide, [k for k, slot in enumerate(wide.slots) if slot in narrow.slots])
    notes.couple(wide.labels, spread)
    both = np.empty((*wide.labels.shape, 2), dtype=np.int64)
    both[..., 0], both[..., 1] = wide.labels, spread
    axes = tuple((n,) for n in both.shape)
    notes.findings.views.append((Layout(axes, (Field(tuple((k, 0) for k in range(both.ndim)), both),)), None))


def _not_crossed(notes: Notes, wide: Field, kept: Sequence[int]) -> None:
    """Pin labels whose rows meet one set of channels and whose columns meet another: x x' over norms of rows.

    Both would go as one, but what is twice as long each way is four times as large.
    """
    labels = wide.labels
    counts = [n if k in kept else 1 for k, n in enumerate(labels.shape)]
    lines = np.broadcast_to(np.arange(math.prod(counts)).reshape(counts), labels.shape)
    flat = np.unique(labels.ravel(), return_index=True)[1]
    if flat.size != labels.size:
        return
    own = lines.ravel()[flat]
    known = notes.findings.lines.setdefault((int(labels.ravel()[flat[0]]), labels.size), [])
    for other in known:
        both = np.unique(other * labels.size + own).size
        if both > max(np.unique(other).size, np.unique(own).size):
            notes.pin(labels, "its rows and its columns meet channels of their own")
    known.append(own)
