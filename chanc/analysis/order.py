"""In which order the copies of a repeated unit stand on an axis.

Where channel b follows channel a and both are of one unit, a repeat of the unit gives either `a b a' b'` (they are
*joined*: a block) or `a a' b b'` (a *seam* parts them). What a pair is follows from the factors of axes: a factor that
is repeated repeats all that is finer as a block, and parts what is coarser. Lines that lie side by side in a tensor are
repeated alike, so their pairs are one. A Concat would rather have a seam between its inputs, but can do without one (it
is followed by a Gather then). A pair that no factor speaks of is joined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from chanc.analysis.disjoint_set import DisjointSet, IntArray
from chanc.analysis.findings import Findings, Pin
from chanc.analysis.layout import Factors, Field, Layout, Slot
from chanc.analysis.solve import NOTHING, Units, by_axis, moving_axis


@dataclass(frozen=True, slots=True)
class Order:
    """`seams` holds `a * labels + b` for each pair of channels that a seam parts, ascending; `torn` are units that no
    order suits: one factor joins what another one parts."""

    seams: IntArray
    torn: IntArray

    def __repr__(self) -> str:
        return f"<Order: {self.seams.size} seams, {self.torn.size} torn units>"


def ordered(findings: Findings, units: Units) -> Units:
    """The units with the order of their copies; those that no order suits are pinned."""
    free = np.ones(units.unit.size, dtype=bool)
    free[units.pinned.units] = False
    order = find_order(findings, units.channel, units.unit, free)
    if not order.torn.size:
        return replace(units, seams=order.seams)
    torn = Pin("", "", "", "copies of it would have no order to stand in")
    return replace(units, pinned=units.pinned.also(order.torn, torn), seams=order.seams)


def find_order(findings: Findings, channel: IntArray, unit: IntArray, free: NDArray[np.bool_]) -> Order:
    """The order of copies: `channel[l]` and `unit[l]` as solved; only units that are `free` to change matter."""
    soft = NOTHING
    if findings.seams:
        left, right = np.array(findings.seams, dtype=np.int64).T
        alike = (unit[left] == unit[right]) & free[unit[left]]
        soft = channel[left[alike]] * channel.size + channel[right[alike]]
    sites = list(_sites(findings))
    # A pair is of one unit, and of units that nothing may part all pairs are joined.
    parts = np.zeros(unit.size, dtype=bool)
    parts[unit[soft // channel.size]] = True
    for _, part, _ in sites:
        parts[_may_part(part.labels, unit, free)] = True
    if not parts.any():
        return Order(NOTHING, NOTHING)
    pairs = _Pairs(channel.size)
    for layout, part, moves in sites:
        if not parts[unit[part.labels]].any():
            continue
        axis = _growing(part, moves, unit)
        grid = _grid(layout.axes[axis], part, axis, moves, unit) if axis is not None else None
        if grid is not None:
            pairs.read(channel[grid], unit[grid[0, :, 0, 0]], free)
    return pairs.solve(soft, unit)


def _may_part(labels: IntArray, unit: IntArray, free: NDArray[np.bool_]) -> list[int]:
    """The unit a line of which may lie on an axis more than once: then its first and last label are of that unit."""
    first, last = int(unit[labels.item(0)]), int(unit[labels.item(-1)])
    return [first] if first == last and free[first] else []


def _sites(findings: Findings) -> Iterator[tuple[Layout, Field, Slot | None]]:
    """(layout, field, what to repeat where all is one unit) of each axis that is cut into factors.

    Most axes are of one factor, and say nothing.
    """
    seen: set[tuple[object, ...]] = set()
    last: Layout | None = None
    for layout, moves in chain(zip(findings.layouts.values(), repeat(None)), findings.views):
        if layout is last:  # what is elementwise keeps the layout that it is given
            continue
        last = layout
        for part in layout.fields:
            if len(part.slots) == 1 and len(layout.axes[part.slots[0][0]]) == 1:
                continue
            key = (id(part.labels), part.slots, tuple(layout.axes[axis] for axis in part.axes))
            if key in seen:
                continue
            seen.add(key)
            yield layout, part, moves


def _growing(part: Field, moves: Slot | None, unit: IntArray) -> int | None:
    """The axis along which a field's units vary; None where none can be told."""
    axes = part.axes
    if len(axes) == 1:
        return axes[0]
    units = unit[by_axis(part)]
    if moves is not None and (units == units.flat[0]).all():
        return moves[0]
    found = moving_axis(units)
    return axes[found] if found is not None and found >= 0 else None


def _grid(factors: Factors, part: Field, axis: int, moves: Slot | None, unit: IntArray) -> IntArray | None:
    """The labels as [coarser, line, finer, side by side], where the line is what is repeated.

    Of factors without labels two positions are enough: all are alike.
    """
    mine = sorted((slot[1], k) for k, slot in enumerate(part.slots) if slot[0] == axis)
    others = [k for k, slot in enumerate(part.slots) if slot[0] != axis]
    labels = part.labels.transpose([*(k for _, k in mine), *others])
    labels = labels.reshape(*labels.shape[: len(mine)], -1)
    units = unit[labels[..., 0]]
    if moves is not None and moves[0] == axis and (units == units.flat[0]).all():
        moving: int | None = [k for k, _ in mine].index(moves[1])
    else:
        moving = moving_axis(units) if len(mine) > 1 else 0
    here = {k: n for (k, _), n in zip(mine, labels.shape, strict=False)}
    full = [here.get(k, 1 if size == 1 else 2) for k, size in enumerate(factors)]
    first = last = mine[moving][0] if moving is not None and moving >= 0 else -1
    if first < 0:
        first, last = mine[0][0], mine[-1][0]
        if last - first != len(mine) - 1:
            return None
    wide = labels.reshape([here.get(k, 1) for k in range(len(factors))] + [-1])
    shape = [int(np.prod(n)) for n in (full[:first], full[first : last + 1], full[last + 1 :])]
    return np.broadcast_to(wide, [*full, labels.shape[-1]]).reshape(*shape, -1)


@dataclass(slots=True)
class _Pairs:
    """What is known of pairs of neighbours, each as one number."""

    count: int
    ties: list[tuple[IntArray, IntArray]] = field(default_factory=list)
    parted: list[IntArray] = field(default_factory=list)
    joined: list[IntArray] = field(default_factory=list)

    def _key(self, left: IntArray, right: IntArray) -> IntArray:
        return left * self.count + right

    def read(self, grid: IntArray, units: IntArray, free: NDArray[np.bool_]) -> None:
        """Note the pairs of a grid [coarser, line, finer, side by side] of channels; `units` are those of the line."""
        free = free[units]
        coarser, _, finer, _ = grid.shape
        at = np.flatnonzero((units[:-1] == units[1:]) & free[:-1])
        if at.size:
            beside = self._key(grid[:, at], grid[:, at + 1]).swapaxes(0, 1).reshape(at.size, -1)
            next_to = self._key(grid[:, at, -1], grid[:, at + 1, 0]).swapaxes(0, 1).reshape(at.size, -1)
            alike = np.concatenate([beside, next_to], axis=1)
            self.ties.append((alike, np.broadcast_to(alike[:, :1], alike.shape)))
        if coarser > 1 and free[0] and units[0] == units[-1]:
            self.parted.append(self._key(grid[:-1, -1, -1], grid[1:, 0, 0]).ravel())
        if finer > 1 and free.any():
            self.joined.append(self._key(grid[:, free, :-1], grid[:, free, 1:]).ravel())

    def solve(self, soft: IntArray, unit: IntArray) -> Order:
        """The pairs that a seam parts; `soft` are those that rather have one."""
        if not self.parted and not soft.size:
            return Order(NOTHING, NOTHING)
        keys = np.unique(np.concatenate([*(a.ravel() for a, _ in self.ties), *self.parted, *self.joined, soft]))
        sets = DisjointSet()
        for a, b in self.ties:
            sets.unite(np.searchsorted(keys, a), np.searchsorted(keys, b))
        root = sets.roots(keys.size)
        parted, joined, wished = (_marked(keys, root, part) for part in (self.parted, self.joined, [soft]))
        torn = unit[keys[(parted & joined)[root]] // self.count]
        return Order(keys[((parted | wished) & ~joined)[root]], np.unique(torn))


def _marked(keys: IntArray, root: IntArray, parts: list[IntArray]) -> NDArray[np.bool_]:
    mask = np.zeros(keys.size, dtype=bool)
    for part in parts:
        mask[root[np.searchsorted(keys, part)]] = True
    return mask
