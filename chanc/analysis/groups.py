"""From units to channel groups: units that occur alike over all parameters are interchangeable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.solve import Units
from chanc.analysis.sweep import ParameterAxis, Sweep

CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True, slots=True)
class Operand:
    """One axis of an initializer as a node uses it, and where on it the units of a group are.

    `node` is the node's first output name; `indices` is [units, positions of a unit on that axis].
    """

    node: str
    op: str
    input: int
    initializer: str
    axis: int
    role: Literal["producer", "consumer", "follower"]
    indices: IntArray


@dataclass(frozen=True, slots=True)
class Group:
    """Widths that change together: `size` channels in steps of `step`, on the group's first producer.

    `reason` tells why a group is not resizable; `exact` whether the other channels keep their function when some go.
    """

    id: str
    size: int
    step: int
    resizable: bool
    reason: str
    exact: bool
    operands: tuple[Operand, ...]
    units: IntArray
    scalable: bool = True

    @property
    def members(self) -> tuple[Operand, ...]:
        """The operands that are the in or out axis of a convolution."""
        return tuple(o for o in self.operands if o.op in CONVOLUTIONS and o.role != "follower")


def find_groups(sweep: Sweep, units: Units) -> tuple[Group, ...]:
    """The channel groups of a solved sweep, in the order of the graph."""
    parameters = sweep.parameters
    if not parameters:
        return ()
    owner = np.repeat(np.arange(len(parameters)), [p.labels.size for p in parameters])
    position = np.concatenate([np.arange(p.labels.size) for p in parameters])
    unit = units.unit[np.concatenate([p.labels for p in parameters])]
    key = _signatures(sweep, units, owner, unit)
    order = np.lexsort((position, unit, owner, key[unit]))
    owner, position, unit = owner[order], position[order], unit[order]
    found = key[unit]
    first = np.flatnonzero(np.diff(found, prepend=found[0] - 1 if found[0] else found[0] + 1))
    groups = []
    for start, end in zip(first, [*first[1:], found.size], strict=True):
        groups.append(_group(parameters, units, owner[start:end], position[start:end], unit[start:end]))
    groups.sort(key=lambda group: (int(group.units[0]), group.id))
    return _named(groups)


def _signatures(sweep: Sweep, units: Units, owner: IntArray, unit: IntArray) -> IntArray:
    """A number for each unit, equal for units that occur alike: sums of random numbers, one an axis and segment."""
    random = np.random.default_rng(0)
    codes = random.integers(1, 1 << 62, size=owner[-1] + 1, dtype=np.int64)
    key = np.zeros(units.unit.size, dtype=np.int64)
    np.add.at(key, unit, codes[owner])
    for labels in sweep.segments:
        np.add.at(key, units.unit[labels], random.integers(1, 1 << 62, dtype=np.int64))
    for marked in (units.pinned, units.inexact):
        if marked:
            key[np.fromiter(marked, dtype=np.int64)] += random.integers(1, 1 << 62, dtype=np.int64)
    return key


def _group(parameters: list[ParameterAxis], units: Units, owner: IntArray, position: IntArray, unit: IntArray) -> Group:
    operands: list[Operand] = []
    members = np.unique(unit)
    cuts = np.flatnonzero(np.diff(owner)) + 1
    for part in np.split(np.arange(owner.size), cuts):
        parameter = parameters[owner[part[0]]]
        indices = position[part].reshape(members.size, -1)
        operands += [_operand(parameter, node, index, indices) for node, index in parameter.uses]
    primary = next((o for o in operands if o.role == "producer"), operands[0])
    pin = next((units.pinned[u] for u in members.tolist() if u in units.pinned), None)
    step = primary.indices.shape[1]
    name = primary.initializer if primary.role == "producer" else f"{primary.initializer}:{primary.axis}"
    roots = set(members.tolist())
    return Group(
        id=name,
        size=members.size * step,
        step=step,
        resizable=pin is None,
        reason="" if pin is None else pin_text(pin.node, pin.op, pin.reason),
        exact=not roots & units.inexact.keys(),
        operands=tuple(operands),
        units=members,
        scalable=not roots & units.unscaled,
    )


def pin_text(node: str, op: str, reason: str) -> str:
    """One line: which node, and why."""
    return f"{reason} ({op} '{node}')" if node else reason


def _operand(parameter: ParameterAxis, node: ir.Node, index: int, indices: IntArray) -> Operand:
    return Operand(
        node=node.outputs[0].name or "",
        op=node.op_type,
        input=index,
        initializer=parameter.value.name or "",
        axis=parameter.axis,
        role=parameter.role,
        indices=indices,
    )


def _named(groups: list[Group]) -> tuple[Group, ...]:
    """Ids made unique: parts of one producer are numbered in the order of the graph."""
    count = Counter(group.id for group in groups)
    seen: Counter[str] = Counter()
    named = []
    for group in groups:
        if count[group.id] > 1:
            label = f"{group.id}#{seen[group.id]}"
            seen[group.id] += 1
            named.append(_with_id(group, label))
        else:
            named.append(group)
    return tuple(named)


def _with_id(group: Group, name: str) -> Group:
    return Group(
        name, group.size, group.step, group.resizable, group.reason, group.exact, group.operands, group.units,
        group.scalable,
    )  # fmt: skip
