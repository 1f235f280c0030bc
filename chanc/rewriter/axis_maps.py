"""Where each position of a resized axis comes from.

A resize is a number of copies for each unit: 0 where it goes, 1 where it stays, more where it is repeated. Order is
kept, and a copy stands next to its source: next to the whole block where a unit is a block of an axis (a head, a norm
group), so that the axis can still be seen as [blocks, block size].
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from chanc.analysis import dims
from chanc.analysis.dims import Dim, Size
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Field, Layout, Slot
from chanc.analysis.solve import by_axis, moving_axis
from chanc.errors import IllegalMove


@dataclass(frozen=True, slots=True)
class Resize:
    """`unit[l]` is the unit of label l (as solved), `copies[u]` how often unit u is there afterwards.

    `channel[l]` is its channel; `seams` holds `channel * labels + channel` of neighbours that are not repeated as a
    block (see `chanc.analysis.order`): copies of the one stand before the other. `grows`: whether anything is repeated.
    """

    unit: IntArray
    copies: IntArray
    channel: IntArray
    seams: IntArray
    grows: bool = dataclasses.field(init=False)
    _there: IntArray = dataclasses.field(init=False)
    """How often each label is there afterwards."""
    _known: dict[int, tuple[IntArray, bool]] = dataclasses.field(default_factory=dict)
    _lines: dict[int, tuple[IntArray, IntArray]] = dataclasses.field(default_factory=dict)
    _axes: dict[tuple[int, tuple[Slot, ...]], tuple[Field, int]] = dataclasses.field(default_factory=dict)
    _sizes: dict[int, tuple[Layout, tuple[Size, ...]]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "grows", bool(self.copies.max(initial=0) > 1))
        object.__setattr__(self, "_there", self.copies[self.unit])

    def __repr__(self) -> str:
        return f"<Resize: {np.count_nonzero(self._there != 1)} of {self.unit.size} labels change>"

    def changes(self, labels: IntArray) -> bool:
        """Whether any of these labels goes or is repeated."""
        # Many axes share one array of labels.
        found = self._known.get(id(labels))
        if found is None:
            found = (labels, bool(np.count_nonzero(self._there[labels] != 1)))
            self._known[id(labels)] = found
        return found[1]

    def line(self, labels: IntArray) -> IntArray:
        """For each new position along a line of labels the old one: [new size]."""
        found = self._lines.get(id(labels))
        if found is None:
            found = (labels, self._index(labels))
            self._lines[id(labels)] = found
        return found[1]

    def size(self, layout: Layout, axis: int) -> Size:
        """The new size of an axis; factors of unknown size stay as they are."""
        sizes = list(layout.axes[axis])
        for field in layout.on(axis):
            found = self._factor(field, axis)
            if found is None:
                continue
            factors, index = found
            total = dims.product(sizes[k] for k in factors)
            if isinstance(total, Dim):
                raise IllegalMove("an axis of unknown size would be resized")
            for k in factors[1:]:
                sizes[k] = 1
            sizes[factors[0]] = len(index)
        return dims.product(sizes)

    def sizes(self, layout: Layout) -> tuple[Size, ...]:
        """The new size of every axis."""
        # What is elementwise keeps the layout that it is given.
        found = self._sizes.get(id(layout))
        if found is None:
            moved = {self.axis(field) for field in layout.fields}
            every = range(layout.rank)
            sizes = tuple([self.size(layout, axis) if axis in moved else layout.size(axis) for axis in every])
            found = self._sizes[id(layout)] = (layout, sizes)
        return found[1]

    def source(self, layout: Layout, axis: int) -> IntArray | None:
        """For each new position of an axis the old one: [new size]; None where the axis stays as it is."""
        changed = [found for field in layout.on(axis) if (found := self._factor(field, axis)) is not None]
        if not changed:
            return None
        sizes = layout.axes[axis]
        if any(isinstance(size, Dim) for size in sizes):
            raise IllegalMove("channels are mixed with an axis of unknown size")
        if len(changed) > 1:
            raise IllegalMove("two sets of channels share an axis")
        factors, index = changed[0]
        if len(sizes) == 1:
            return index
        shape = [int(str(size)) for size in sizes]
        positions = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
        positions = positions.reshape(*shape[: factors[0]], -1, *shape[factors[-1] + 1 :])
        return np.take(positions, index, axis=factors[0]).ravel()

    def axis(self, field: Field) -> int | None:
        """The axis of a field that changes its size; None where none does."""
        if not self.changes(field.labels):
            return None
        if len(field.slots) == 1:
            return field.slots[0][0]
        key = (id(field.labels), field.slots)
        if key not in self._axes:
            axes = field.axes
            moving = moving_axis(self.unit[by_axis(field)]) if len(axes) > 1 else 0
            if moving is None or moving < 0:
                raise IllegalMove("a tensor would not stay rectangular")
            self._axes[key] = (field, axes[moving])
        return self._axes[key][1]

    def factors(self, layout: Layout, axis: int) -> dict[int, IntArray]:
        """For each factor of an axis that changes the old index for each new one."""
        found = [self._factor(field, axis) for field in layout.on(axis)]
        if any(part is not None and len(part[0]) > 1 for part in found):
            raise IllegalMove("channels lie in several factors of an axis")
        return {part[0][0]: part[1] for part in found if part is not None}

    def _factor(self, field: Field, axis: int) -> tuple[range, IntArray] | None:
        """The factors of an axis that change (a range of them) and the new index along them; None where none do."""
        if self.axis(field) != axis:
            return None
        if len(field.slots) == 1:
            factor = field.slots[0][1]
            return range(factor, factor + 1), self.line(field.labels)
        mine = sorted((slot[1], k) for k, slot in enumerate(field.slots) if slot[0] == axis)
        order = [k for _, k in mine] + [k for k, slot in enumerate(field.slots) if slot[0] != axis]
        labels = field.labels.transpose(order)
        labels = labels.reshape(*labels.shape[: len(mine)], -1)[..., 0]
        moving = moving_axis(self.unit[labels]) if labels.ndim > 1 else 0
        if moving is not None and moving >= 0:
            factor = mine[moving][0]
            line = np.moveaxis(labels, moving, 0).reshape(labels.shape[moving], -1)[:, 0]
            return range(factor, factor + 1), self._index(line)
        factors = [factor for factor, _ in mine]
        if factors != list(range(factors[0], factors[-1] + 1)):
            raise IllegalMove("channels lie in several factors of an axis")
        return range(factors[0], factors[-1] + 1), self._index(labels.ravel())

    def _index(self, labels: IntArray) -> IntArray:
        """The old index for each new one along a line of labels; runs of one unit are repeated as blocks."""
        copies = self._there[labels]
        if not self.grows or copies.max(initial=0) <= 1:
            return np.flatnonzero(copies)
        units = self.unit[labels]
        begins = np.diff(units, prepend=-1) != 0
        if self.seams.size:
            channels = self.channel[labels]
            begins[1:] |= np.isin(channels[:-1] * self.unit.size + channels[1:], self.seams)
        starts = np.flatnonzero(begins)
        turns = np.repeat(np.arange(starts.size), copies[starts])
        lengths = np.diff(starts, append=units.size)[turns]
        ends = np.cumsum(lengths)
        found: IntArray = np.repeat(starts[turns] - ends + lengths, lengths) + np.arange(lengths.sum())
        return found


def occurrence(source: IntArray) -> IntArray:
    """How many earlier positions have the same source: 0 for the first copy, 1 for the second."""
    if (source[1:] > source[:-1]).all():  # as wherever units only go
        return np.zeros_like(source)
    order = np.argsort(source, kind="stable")
    ordered = source[order]
    first = np.searchsorted(ordered, ordered, side="left")
    count = np.empty_like(source)
    count[order] = np.arange(source.size) - first
    return count


def remap(indices: IntArray, inner: IntArray | None, outer: IntArray | None, size: int) -> IntArray:
    """Indices into a resized axis for a resized result: copy k of a result position reads copy k of what it read.

    `inner` and `outer` are the sources of the axis read from and of the result; None where they stay.
    """
    outer = np.arange(indices.size, dtype=np.int64) if outer is None else outer
    return read_copies(indices[outer], occurrence(outer), inner, size)


def read_copies(wanted: IntArray, copy: IntArray, inner: IntArray | None, size: int) -> IntArray:
    """Where in a resized axis copy `copy[i]` of old position `wanted[i]` is; the last one where there are fewer."""
    inner = np.arange(size, dtype=np.int64) if inner is None else inner
    order = np.argsort(inner, kind="stable")
    first = np.searchsorted(inner[order], wanted, side="left")
    count = np.searchsorted(inner[order], wanted, side="right") - first
    if (count == 0).any():
        raise IllegalMove("a position that is read would be gone")
    found: IntArray = order[first + np.minimum(copy, count - 1)]
    return found
