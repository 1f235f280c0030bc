"""From units to channel groups: units that occur alike over all parameters are interchangeable."""

from __future__ import annotations

import dataclasses
import functools
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import onnx_ir as ir

from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.findings import Findings
from chanc.analysis.initializers import ParameterAxis
from chanc.analysis.solve import Units
from chanc.ir.nodes import called
from chanc.ops import Trait, with_trait


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

    def __repr__(self) -> str:
        where = f"input {self.input} of {self.op} '{self.node}'"
        return f"<Operand '{self.initializer}', axis {self.axis} ({self.role}), {where}: width {self.indices.size}>"


class Operands(Sequence[Operand]):
    """The operands of a group, made when they are first looked at: a dense network has tens of thousands."""

    __slots__ = ("_count", "_kind", "_made", "_table")

    def __init__(self, table: _Table, kind: int, count: int) -> None:
        """Those of a group of `count` units."""
        self._table, self._kind, self._count = table, kind, count
        self._made: tuple[Operand, ...] | None = None

    def _all(self) -> tuple[Operand, ...]:
        if self._made is None:
            self._made = self._table.operands(self._kind, self._count)
        return self._made

    def producers(self) -> tuple[Operand, ...]:
        """The producers alone, without making the others."""
        if self._made is None:
            return self._table.operands(self._kind, self._count, "producer")
        return tuple(o for o in self._made if o.role == "producer")

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

    `reason` tells why a group is not resizable; `inexact` why the other channels don't keep their function when some
    go, `unscaled` why they don't when some are repeated (each empty where they do). `divisible` tells whether the
    consumers' weights can be shared out among copies; else the first copy keeps them, and the others get none. `heads`
    tells whether a unit is an attention head.
    """

    id: str
    size: int
    step: int
    resizable: bool
    reason: str
    inexact: str
    operands: Sequence[Operand]
    units: IntArray
    unscaled: str = ""
    divisible: bool = True
    heads: bool = False

    def __repr__(self) -> str:
        return f"<Group '{self.id}': width {self.size}, step {self.step}, {self.reason or 'may change'}>"

    @property
    def exact(self) -> bool:
        """Whether the other channels keep their function when some go."""
        return not self.inexact

    @property
    def scalable(self) -> bool:
        """Whether the function stays when channels are repeated."""
        return not self.unscaled

    @property
    def producers(self) -> tuple[Operand, ...]:
        """The operands that make the group's channels."""
        if isinstance(self.operands, Operands):
            return self.operands.producers()
        return tuple(o for o in self.operands if o.role == "producer")

    @property
    def primary(self) -> Operand:
        """The operand that `size` and `step` speak of: the first producer, a looked-up table if nothing else."""
        makers = self.producers
        return next((o for o in makers if o.op != "Gather"), makers[0] if makers else self.operands[0])

    @property
    def members(self) -> tuple[Operand, ...]:
        """The operands that are the in or out axis of a convolution."""
        convolutions = {name for _, name in with_trait(Trait.CONVOLUTION)}
        return tuple(o for o in self.operands if o.op in convolutions and o.role != "follower")


def find_groups(findings: Findings, units: Units) -> tuple[Group, ...]:
    """The channel groups of a solved findings, in the order of the graph."""
    if not findings.parameters:
        return ()
    lines = _Lines.of(findings.parameters, units.unit)
    signature = _signatures(findings, units, lines)
    table = _Table.of(lines, signature)
    marks = [
        _first_marked(marked, signature, table.kinds)
        for marked in (units.pinned.units, units.inexact.units, units.unscaled.units, units.undivided, units.heads)
    ]
    groups = [_group(table, units, [first.get(kind) for first in marks], kind) for kind in range(table.kinds.size)]
    groups.sort(key=lambda group: (group.units.item(0), group.id))
    return _named(groups)


@dataclass(frozen=True, slots=True, repr=False)
class _Lines:
    """The lines of labels that parameter axes have, one after the other; those with one and the same share it.

    `of_parameter[k]` is the line of parameter k, `using[j]` are the parameters of line j, which is `sizes[j]` long, and
    `unit` the units at the positions of all lines.
    """

    parameters: list[ParameterAxis]
    of_parameter: list[int]
    using: list[list[int]]
    sizes: IntArray
    unit: IntArray

    def __repr__(self) -> str:
        return f"<_Lines: {self.sizes.size} of {len(self.parameters)} parameter axes>"

    @classmethod
    def of(cls, parameters: list[ParameterAxis], unit: IntArray) -> _Lines:
        """The lines of these parameters; `unit` is that of each label."""
        places: dict[int, int] = {}
        labels: list[IntArray] = []
        using: list[list[int]] = []
        of_parameter: list[int] = []
        for k, parameter in enumerate(parameters):
            line = parameter.labels
            place = places.setdefault(id(line), len(labels))
            if place == len(labels):
                labels.append(line)
                using.append([k])
            else:
                using[place].append(k)
            of_parameter.append(place)
        sizes = np.array([line.size for line in labels])
        return cls(parameters, of_parameter, using, sizes, unit[np.concatenate(labels)])


@dataclass(frozen=True, slots=True, repr=False)
class _Table:
    """The positions of lines by groups; `signature` is that of the unit at each position.

    Line j has the positions `start[j]` to `start[j + 1]`. Group g has the units whose signature is `kinds[g]`; it is
    first on a line from `first[g][0]` to `first[g][1]`. `owners[g]` are the parameters on which it is, and
    `count[g, j]` is how many positions of line j are of it. Only runs of one kind are sorted, not positions: a dense
    network has hundreds of thousands of those. At `falls` the next unit is no larger.
    """

    lines: _Lines
    start: list[int]
    signature: IntArray
    kinds: IntArray
    first: list[tuple[int, int]]
    owners: list[list[int]]
    count: dict[tuple[int, int], int]
    falls: list[int]

    def __repr__(self) -> str:
        return f"<_Table: {self.kinds.size} groups on {self.lines.sizes.size} lines>"

    @classmethod
    def of(cls, lines: _Lines, signature: IntArray) -> _Table:
        """The table of lines; `signature` is that of each unit."""
        sizes, unit = lines.sizes, lines.unit
        start = np.concatenate([[0], np.cumsum(sizes)])
        signature = signature[unit]
        begins = np.ones(unit.size, dtype=bool)
        np.not_equal(signature[1:], signature[:-1], out=begins[1:])
        begins[start[:-1][sizes > 0]] = True
        runs = np.flatnonzero(begins)
        ends = np.concatenate([runs[1:], [unit.size]])
        kinds, first, kind = np.unique(signature[runs], return_index=True, return_inverse=True)
        pair = kind * sizes.size + np.searchsorted(start, runs, side="right") - 1
        found, which = np.unique(pair, return_inverse=True)
        totals = np.bincount(which, ends - runs).astype(np.int64)
        owners: list[list[int]] = [[] for _ in range(kinds.size)]
        count: dict[tuple[int, int], int] = {}
        for number, total in zip(found.tolist(), totals.tolist(), strict=True):
            group, place = divmod(number, sizes.size)
            owners[group] += lines.using[place]
            count[group, place] = total
        for of_kind in owners:
            of_kind.sort()
        falls = np.flatnonzero(unit[1:] <= unit[:-1]).tolist()
        spans = list(zip(runs[first].tolist(), ends[first].tolist(), strict=True))
        return cls(lines, start.tolist(), signature, kinds, spans, owners, count, falls)

    def units(self, kind: int) -> IntArray:
        """The units of a group, ascending: a line that has any of them has all."""
        begin, end = self.first[kind]
        line, unit = bisect_right(self.start, begin) - 1, self.lines.unit
        if end - begin != self.count[kind, line]:
            inside = slice(self.start[line], self.start[line + 1])
            return np.unique(unit[inside][self.signature[inside] == self.kinds[kind]])
        run, fall = unit[begin:end], bisect_left(self.falls, begin)
        if fall == len(self.falls) or self.falls[fall] >= end - 1:
            return run
        row = run[: self.falls[fall] + 1 - begin]  # of a convolution in groups, whose rows are alike
        alike = run.size % row.size == 0 and (run.reshape(-1, row.size) == row).all()
        return row if alike else np.unique(run)

    def places(self, owner: int, kind: int) -> IntArray:
        """The positions of a group on the axis of a parameter, ordered by unit and place."""
        line = self.lines.of_parameter[owner]
        inside = slice(self.start[line], self.start[line + 1])
        found: IntArray = np.flatnonzero(self.signature[inside] == self.kinds[kind])
        return found[np.argsort(self.lines.unit[inside][found], kind="stable")]

    def operands(self, kind: int, count: int, role: str | None = None) -> tuple[Operand, ...]:
        """The operands of a group of `count` units; those of one role, or all."""
        parameters = self.lines.parameters
        return tuple(
            _operand(parameters[k], node, index, where)
            for k in self.owners[kind]
            if role is None or parameters[k].role == role
            for where in [self.places(k, kind).reshape(count, -1)]
            for node, index in parameters[k].uses
        )


def _first_marked(units: IntArray, signature: IntArray, kinds: IntArray) -> dict[int, int]:
    """The first of these units, ascending, in each group that has one: g has those whose signature is `kinds[g]`."""
    if not units.size or not kinds.size:
        return {}
    found = np.searchsorted(kinds[:-1], signature[units])
    grouped = kinds[found] == signature[units]
    which, first = np.unique(found[grouped], return_index=True)
    return dict(zip(which.tolist(), units[grouped][first].tolist(), strict=True))


@functools.cache
def _codes(count: int) -> IntArray:
    """Random numbers: [count]."""
    return np.random.default_rng(0).integers(1, 1 << 62, size=count, dtype=np.int64)


def _signatures(findings: Findings, units: Units, lines: _Lines) -> IntArray:
    """A number for each unit, equal for units that occur alike: sums of random numbers, one an axis and segment."""
    segments = findings.segments
    count = lines.sizes.size
    codes = _codes(1 << (count + len(segments) + 2).bit_length())
    key = np.zeros(units.unit.size, dtype=np.int64)
    np.add.at(key, lines.unit, np.repeat(codes[:count], lines.sizes))
    for code, labels in zip(codes[count:], segments, strict=False):
        np.add.at(key, units.unit[labels], code)
    key[units.pinned.units] += codes[-2]
    key[units.inexact.units] += codes[-1]
    return key


def _group(table: _Table, units: Units, marked: Sequence[int | None], kind: int) -> Group:
    """One group; `marked` are the first units of it that are pinned, inexact, unscaled, undivided and heads."""
    members, first = table.units(kind), _primary(table.lines.parameters, table.owners[kind])
    parameter = table.lines.parameters[first]
    pinned, inexact, unscaled, undivided, heads = marked
    pin = None if pinned is None else units.pinned[pinned]
    size = table.count[kind, table.lines.of_parameter[first]]
    name = parameter.value.name or ""
    return Group(
        id=name if parameter.role == "producer" else f"{name}:{parameter.axis}",
        size=size,
        step=size // members.size,
        resizable=pin is None,
        reason="" if pin is None else pin_text(pin.node, pin.op, pin.reason),
        inexact="" if inexact is None else units.inexact[inexact],
        operands=Operands(table, kind, members.size),
        units=members,
        unscaled="" if unscaled is None else units.unscaled[unscaled],
        divisible=undivided is None,
        heads=heads is not None,
    )


def _primary(parameters: Sequence[ParameterAxis], owners: Sequence[int]) -> int:
    """The parameter that gives a group its name: its first producer, or whatever is first.

    A table that is looked up (a position bias) does only where nothing else makes the channels.
    """
    table: int | None = None
    for k in owners:
        if parameters[k].role == "producer":
            if parameters[k].uses[0][0].op_type != "Gather":
                return k
            table = k if table is None else table
    return owners[0] if table is None else table


def pin_text(node: str, op: str, reason: str) -> str:
    """One line: which node, and why."""
    return f"{reason} ({op} '{node}')" if node else reason


def _operand(parameter: ParameterAxis, node: ir.Node, index: int, indices: IntArray) -> Operand:
    return Operand(
        node=called(node),
        op=node.op_type,
        input=index,
        initializer=parameter.value.name or "",
        axis=parameter.axis,
        role=parameter.role,
        indices=indices,
    )


def _named(groups: list[Group]) -> tuple[Group, ...]:
    """Ids made unique: parts of one producer are numbered in the order of the graph."""
    if len({group.id for group in groups}) == len(groups):
        return tuple(groups)
    count = Counter(group.id for group in groups)
    seen: Counter[str] = Counter()
    named = []
    for group in groups:
        if count[group.id] > 1:
            label = f"{group.id}#{seen[group.id]}"
            seen[group.id] += 1
            named.append(dataclasses.replace(group, id=label))
        else:
            named.append(group)
    return tuple(named)
