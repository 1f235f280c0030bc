"""From units to channel groups: units that occur alike over all parameters are interchangeable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

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


class Operands(Sequence[Operand]):
    """The operands of a group, made when they are first looked at: a dense network has tens of thousands."""

    def __init__(self, make: Callable[[], tuple[Operand, ...]]) -> None:
        self._make: Callable[[], tuple[Operand, ...]] | None = make
        self._made: tuple[Operand, ...] = ()

    def _all(self) -> tuple[Operand, ...]:
        if self._make is not None:
            self._made, self._make = self._make(), None
        return self._made

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[Operand]:
        return iter(self._all())

    @overload
    def __getitem__(self, index: int) -> Operand: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Operand, ...]: ...
    def __getitem__(self, index: int | slice) -> Operand | tuple[Operand, ...]:
        return self._all()[index]


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
    operands: Sequence[Operand]
    units: IntArray
    scalable: bool = True

    @property
    def primary(self) -> Operand:
        """The operand that `size` and `step` speak of: the first producer, a looked-up table if nothing else."""
        makers = [o for o in self.operands if o.role == "producer"]
        return next((o for o in makers if o.op != "Gather"), makers[0] if makers else self.operands[0])

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
    _, kind = np.unique(key[unit], return_inverse=True)
    # Positions lie in the order of their owners and places already; the sort is stable.
    order = np.lexsort((unit, kind * len(parameters) + owner))
    owner, position, unit, kind = owner[order], position[order], unit[order], kind[order]
    first = np.flatnonzero(np.diff(kind, prepend=-1))
    marks = tuple(_mask(units, marked) for marked in (units.pinned, units.inexact, units.unscaled))
    groups = []
    for start, end in zip(first.tolist(), [*first[1:].tolist(), kind.size], strict=True):
        groups.append(_group(parameters, units, marks, owner[start:end], position[start:end], unit[start:end]))
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


def _mask(units: Units, marked: Collection[int]) -> NDArray[np.bool_]:
    mask = np.zeros(units.unit.size, dtype=bool)
    mask[list(marked)] = True
    return mask


def _group(
    parameters: list[ParameterAxis],
    units: Units,
    marks: tuple[NDArray[np.bool_], ...],
    owner: IntArray,
    position: IntArray,
    unit: IntArray,
) -> Group:
    """The group of some positions, ordered by parameter axis, unit and place."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    ends = np.append(starts[1:], owner.size)
    owners = [parameters[k] for k in owner[starts].tolist()]
    members = unit[: ends[0]]
    members = members[np.flatnonzero(np.diff(members, prepend=-1))]
    count = members.size
    makers = [k for k, p in enumerate(owners) if p.role == "producer"]
    # A table that is looked up (a position bias) gives the group its name only where nothing else does.
    first = next((k for k in makers if owners[k].uses[0][0].op_type != "Gather"), makers[0] if makers else 0)
    pinned, inexact, unscaled = (members[mask[members]] for mask in marks)
    pin = units.pinned[int(pinned[0])] if pinned.size else None
    step = int(ends[first] - starts[first]) // count
    name = owners[first].value.name or ""
    return Group(
        id=name if owners[first].role == "producer" else f"{name}:{owners[first].axis}",
        size=count * step,
        step=step,
        resizable=pin is None,
        reason="" if pin is None else pin_text(pin.node, pin.op, pin.reason),
        exact=not inexact.size,
        operands=Operands(lambda: _operands(owners, np.split(position, starts[1:]), count)),
        units=members,
        scalable=not unscaled.size,
    )


def _operands(owners: list[ParameterAxis], places: list[IntArray], count: int) -> tuple[Operand, ...]:
    return tuple(
        _operand(parameter, node, index, where.reshape(count, -1))
        for parameter, where in zip(owners, places, strict=True)
        for node, index in parameter.uses
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
