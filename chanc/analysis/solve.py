"""From findings to units: sets of labels that can only go together, and which of them must stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from chanc.analysis.disjoint_set import DisjointSet, IntArray
from chanc.analysis.findings import Findings, Pin
from chanc.analysis.initializers import ParameterAxis
from chanc.analysis.layout import Field, Layout
from chanc.analysis.marks import Marks
from chanc.analysis.vanishing import remains
from chanc.ir.nodes import called

TARGETS = {"Expand": 1, "Reshape": 1, "ConstantOfShape": 0}
"""Operators whose target shape follows a resize, and the input where it is."""
NOTHING: IntArray = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Units:
    """`channel[l]` and `unit[l]` are the smallest labels that are one channel, or one unit, with label l.

    `pinned` maps a unit to the reason why it stays; `inexact` and `unscaled` those whose removal, or whose repetition,
    changes the function of the rest, to the cause; of `undivided` ones the first copy keeps the consumers' weights;
    those of `heads` are attention heads (both ascending).
    `seams` are those of `chanc.analysis.order`.
    """

    channel: IntArray
    unit: IntArray
    pinned: Marks[Pin]
    inexact: Marks[str]
    unscaled: Marks[str]
    undivided: IntArray
    heads: IntArray
    seams: IntArray = dataclasses.field(default_factory=NOTHING.copy)

    def __repr__(self) -> str:
        return f"<Units: {np.unique(self.unit).size} of {self.unit.size} labels, {len(self.pinned)} pinned>"


def solve(findings: Findings) -> Units:
    """Solve the unions, see to it that tensors stay rectangular, and find what is pinned."""
    channel = findings.channels.roots(findings.label_count)
    unit = findings.couplings.roots(findings.label_count, channel)
    spanning = list(_spanning(findings.layouts.items()))
    staying = [*findings.pins, *_all_held(findings)]
    grids = [by_axis(field) for _, field in spanning]
    unit, moving = _rectangular(findings, unit, [labels for labels, _ in staying], grids)
    staying += [(labels[:1], pin) for labels, pin in findings.rows if unit[labels[0]] == unit[labels[-1]]]
    staying += _knots(findings, channel, unit)
    for (value, _), grid, axis in zip(spanning, grids, moving, strict=True):
        if axis == -1:
            # It can't be told along which of them it would be resized.
            pin = Pin(value, "", "", f"it is the only unit of '{value}', which spans several axes")
            staying.append((grid.ravel()[:1], pin))
    return Units(
        channel,
        unit,
        pinned=Marks(unit, staying),
        inexact=Marks(unit, [*findings.inexact, *remains(findings, unit)]),
        unscaled=Marks(unit, findings.unscaled),
        undivided=_marked(unit, findings.undivided),
        heads=_marked(unit, findings.heads),
    )


def _marked(unit: IntArray, marked: Sequence[IntArray]) -> IntArray:
    """The units with a marked label, ascending."""
    return np.unique(unit[np.concatenate(marked)]) if marked else NOTHING


def _all_held(findings: Findings) -> Iterator[tuple[IntArray, Pin]]:
    """The axes of initializers that must stay as they are, and why."""
    for parameter in findings.parameters:
        apart = parameter.tied and len(parameter.uses) < len(parameter.value.uses())
        reason = _held(findings, parameter) if apart or findings.held else None
        if reason is not None:
            node = parameter.uses[0][0]
            yield parameter.labels, Pin(parameter.value.name or "", called(node), node.op_type, reason)


def _held(findings: Findings, parameter: ParameterAxis) -> str | None:
    """Why an initializer must keep this axis wherever it is used, or None."""
    users, known = parameter.value.uses(), len(parameter.uses)
    if parameter.tied and known < len(users) and known < sum(not _sizes_only(findings, user) for user, _ in users):
        return "it is also used where this axis is not a channel axis"
    return findings.held.get(parameter.value)


def _sizes_only(findings: Findings, node: ir.Node) -> bool:
    """Whether a node reads off sizes, and they end in targets that are rewritten: zeros as long as a weight is."""
    if node.op_type != "Shape" and node.outputs[0] not in findings.data:
        return False
    return all(
        (user.op_type in TARGETS and index == TARGETS[user.op_type]) or _sizes_only(findings, user)
        for user, index in node.outputs[0].uses()
    ) and not node.outputs[0].is_graph_output()


def _rectangular(
    findings: Findings, unit: IntArray, staying: Sequence[IntArray], grids: Sequence[IntArray]
) -> tuple[IntArray, list[int]]:
    """Couple labels until each field that spans several axes loses whole rows or whole columns.

    `grids` are their labels by axis. Returns the units, and along which dimension those of each grid move.
    """
    stay = np.zeros(findings.label_count if grids else 0, dtype=np.int64)
    if grids and staying:
        stay[np.concatenate(staying)] = 1
    ends = np.array([(labels[0], labels[-1]) for labels, _ in findings.rows], dtype=np.int64).reshape(-1, 2)
    while True:
        moving: list[int] = []
        for grid in grids:
            units = unit[grid]
            axis = moving_axis(units)
            if axis is not None:
                moving.append(axis)
                continue
            keep = _best_axis(units, stay, unit[ends])
            extra = DisjointSet()
            flat = np.moveaxis(units, keep, 0).reshape(units.shape[keep], -1)
            extra.unite(flat, flat[:, :1])
            unit = extra.roots(unit.size, unit)[unit]
        if len(moving) == len(grids):
            return unit, moving


def _spanning(layouts: Iterable[tuple[ir.Value, Layout]]) -> Iterator[tuple[str, Field]]:
    """The fields that vary along several axes, each once, and the first value that has it."""
    seen: set[tuple[int, tuple[int, ...]]] = set()
    last: Layout | None = None
    for value, layout in layouts:
        if layout is last:  # what is elementwise keeps the layout that it is given
            continue
        last = layout
        for field in layout.fields:
            if len(field.slots) > 1 and len(field.axes) > 1:
                key = (id(field.labels), tuple(axis for axis, _ in field.slots))
                if key not in seen:
                    seen.add(key)
                    yield value.name or "", field


def _knots(findings: Findings, channel: IntArray, unit: IntArray) -> Iterator[tuple[IntArray, Pin]]:
    """Units that fill all of a producer's axis and in which channels made apart are one: x + roll(x).

    They can't shrink, and copies of them have no order to stand in.
    """
    for parameter in findings.parameters:
        if parameter.role != "producer":
            continue
        labels = parameter.labels
        if labels.size < 2 or unit.item(labels.item(0)) != unit.item(labels.item(-1)):
            continue
        if (unit[labels] == unit[labels[0]]).all() and np.unique(channel[labels]).size < labels.size:
            name = parameter.value.name or ""
            yield labels[:1], Pin(name, "", "", f"all that '{name}' makes is combined with itself")


def by_axis(field: Field) -> IntArray:
    """The labels with one dimension for each axis along which they vary, axes ascending."""
    slots, labels = field.slots, field.labels
    if list(slots) != sorted(slots):
        order = sorted(range(len(slots)), key=slots.__getitem__)
        labels = labels.transpose(order)
        slots = tuple([slots[k] for k in order])
    sizes: dict[int, int] = {}
    for (axis, _), size in zip(slots, labels.shape, strict=True):
        sizes[axis] = sizes.get(axis, 1) * size
    return labels if len(sizes) == labels.ndim else labels.reshape(list(sizes.values()))


def moving_axis(units: IntArray) -> int | None:
    """The one dimension along which units vary: rows or columns of it may go. None where they are mixed.

    A single unit everywhere moves along the only dimension that is 1 long where all others are longer, else along none
    that can be told: then dimension -1 stands for "it can't be resized".
    """
    varying = [axis for axis in range(units.ndim) if (units != units[(slice(None),) * axis + (slice(1),)]).any()]
    if len(varying) == 1:
        return varying[0]
    if varying:
        return None
    ones = [axis for axis in range(units.ndim) if units.shape[axis] == 1]
    return ones[0] if len(ones) == 1 else -1


def _best_axis(units: IntArray, stay: IntArray, ends: IntArray) -> int:
    """The dimension that leaves the most units free when all others are fixed.

    `ends` are the units at both ends of each row that no unit may reach across: [rows, 2].
    """
    inside = ends[np.isin(ends, units).all(axis=1)]
    scores = []
    for axis in range(units.ndim):
        flat = np.moveaxis(units, axis, 0).reshape(units.shape[axis], -1)
        local, inverse = np.unique(flat, return_inverse=True)
        inverse = inverse.reshape(flat.shape)
        sets = DisjointSet()
        sets.unite(inverse, inverse[:, :1])
        roots = sets.roots(local.size)
        held = np.zeros(local.size, dtype=bool)
        np.logical_or.at(held, roots, stay[local].astype(bool))
        left, right = roots[np.searchsorted(local, inside)].T
        held[left[left == right]] = True
        scores.append(int(np.count_nonzero(~held[np.unique(roots)])))
    return int(np.argmax(scores))
