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
CHANNELS: tuple[Slot, ...] = ((1, 0),)
"""Where most tensors have their channels: all along axis 1, which is one factor."""


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
        for slot in slots:  # noqa: SIM110  # a plain loop: it is asked of every field
            if slot[0] == axis:
                return True
        return False

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
    def usual(self) -> bool:
        """Whether channels lie along axis 1 and nowhere else."""
        fields = self.fields
        return len(fields) == 1 and fields[0].slots == CHANNELS

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The size of each axis."""
        return tuple([factors[0] if len(factors) == 1 else dims.product(factors) for factors in self.axes])

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
    return Layout(tuple([factors_of(size) for size in sizes]), (), why)


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
    return Layout(axes, moved(layout.fields, home), layout.why)


def insert_axes(layout: Layout, positions: Sequence[int]) -> Layout:
    """New axes of size 1 at those positions of the result."""
    if not positions:
        return layout
    rank = layout.rank + len(positions)
    kept = [k for k in range(rank) if k not in positions]
    axes: list[Factors] = [()] * rank
    for old, new in enumerate(kept):
        axes[new] = layout.axes[old]
    return Layout(tuple(axes), moved(layout.fields, dict(enumerate(kept))), layout.why)


def drop_axes(layout: Layout, positions: Sequence[int]) -> Layout:
    """Without those axes, on which no field may vary."""
    if not positions:
        return layout
    kept = [k for k in range(layout.rank) if k not in positions]
    home = {old: new for new, old in enumerate(kept)}
    return Layout(tuple(layout.axes[k] for k in kept), moved(layout.fields, home), layout.why)


def without(layout: Layout, axis: int, size: Size = 1) -> Layout:
    """The axis replaced by one without channels; fields that vary along it are dropped."""
    axes = list(layout.axes)
    axes[axis] = factors_of(size)
    return Layout(tuple(axes), tuple(f for f in layout.fields if not f.on(axis)), layout.why)


def with_axes(layout: Layout, sizes: Mapping[int, Size]) -> Layout:
    """The layout with other sizes on axes without labels."""
    axes = [factors_of(sizes[k]) if k in sizes else factors for k, factors in enumerate(layout.axes)]
    return Layout(tuple(axes), layout.fields, layout.why)


def moved(fields: Iterable[Field], home: dict[int, int]) -> tuple[Field, ...]:
    """The fields with their axes elsewhere: axis a is `home[a]`."""
    return tuple([Field(tuple([(home[axis], k) for axis, k in f.slots]), f.labels) for f in fields])


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
        tuple(axes), tuple(spelled(f, axis, factors) if f.on(axis) else f for f in layout.fields), layout.why
    )


def spelled(field: Field, axis: int, factors: Factors) -> Field:
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
