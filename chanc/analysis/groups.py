"""From units to channel groups: units that occur alike over all parameters are interchangeable."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

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

    def __init__(self, make: Callable[[str | None], tuple[Operand, ...]]) -> None:
        self._make = make
        self._made: tuple[Operand, ...] | None = None

    def _all(self) -> tuple[Operand, ...]:
        if self._made is None:
            self._made = self._make(None)
        return self._made

    def producers(self) -> tuple[Operand, ...]:
        """The producers alone, without making the others."""
        return self._make("producer") if self._made is None else tuple(o for o in self._made if o.role == "producer")

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
    table = _Table.of(findings, units)
    kinds = (units.pinned, units.inexact, units.unscaled, units.undivided, units.heads)
    marks = [table.first_marked(marked) for marked in kinds]
    order = np.argsort(table.kind_of_root, kind="stable")
    roots = table.roots[order]
    ends = np.cumsum(np.bincount(table.kind_of_root)).tolist()
    groups = [
        _group(table, units, [first.get(kind) for first in marks], kind, roots[start:end])
        for kind, (start, end) in enumerate(itertools.pairwise([0, *ends]))
    ]
    groups.sort(key=lambda group: (int(group.units[0]), group.id))
    return _named(groups)


@dataclass(frozen=True, slots=True)
class _Table:
    """The lines of labels that parameter axes have, one after the other: their units, and the kind (group) of those.

    Axes with one and the same line, such as those of a BatchNorm, stand there once: `line[k]` is the one of parameter
    k. Line j has the positions `start[j]` to `start[j + 1]`; `owners[g]` are the parameters on which group g is, and
    `count[g, j]` is how many positions of line j are of it. Only runs of one kind are sorted, not positions: a dense
    network has hundreds of thousands of those.
    """

    parameters: list[ParameterAxis]
    line: list[int]
    start: list[int]
    unit: IntArray
    kind: IntArray
    roots: IntArray
    kind_of_root: IntArray
    owners: list[list[int]]
    count: dict[tuple[int, int], int]

    @classmethod
    def of(cls, findings: Findings, units: Units) -> _Table:
        """The table of a solved findings."""
        places: dict[int, int] = {}
        lines: list[IntArray] = []
        using: list[list[int]] = []
        line: list[int] = []
        for k, parameter in enumerate(findings.parameters):
            place = places.setdefault(id(parameter.labels), len(lines))
            if place == len(lines):
                lines.append(parameter.labels)
                using.append([])
            using[place].append(k)
            line.append(place)
        sizes = np.array([labels.size for labels in lines])
        start = np.concatenate([[0], np.cumsum(sizes)])
        unit = units.unit[np.concatenate(lines)]
        signature = _signatures(findings, units, sizes, unit)
        seen = np.zeros(units.unit.size, dtype=bool)
        seen[unit] = True
        roots = np.flatnonzero(seen)
        kind_of_root = _numbered(signature[roots])
        kinds = signature  # all of it that matters was read
        kinds[roots] = kind_of_root
        kind = kinds[unit]
        begins = _begins(kind)
        begins[start[:-1][sizes > 0]] = True
        runs = np.flatnonzero(begins)
        pair = kind[runs] * sizes.size + np.searchsorted(start, runs, side="right") - 1
        found, which = np.unique(pair, return_inverse=True)
        totals = np.bincount(which, np.diff(runs, append=unit.size)).astype(np.int64)
        owners: list[list[int]] = [[] for _ in range(int(kind_of_root.max(initial=-1)) + 1)]
        count: dict[tuple[int, int], int] = {}
        for number, total in zip(found.tolist(), totals.tolist(), strict=True):
            group, place = divmod(number, sizes.size)
            owners[group] += using[place]
            count[group, place] = total
        for of_kind in owners:
            of_kind.sort()
        return cls(findings.parameters, line, start.tolist(), unit, kind, roots, kind_of_root, owners, count)

    def first_marked(self, marked: Collection[int]) -> dict[int, int]:
        """The first of the marked units in each group that has one."""
        if not marked:
            return {}
        mask = np.zeros(int(self.roots[-1]) + 1, dtype=bool)
        mask[[unit for unit in marked if unit < mask.size]] = True
        at = np.flatnonzero(mask[self.roots])
        kinds, first = np.unique(self.kind_of_root[at], return_index=True)
        return dict(zip(kinds.tolist(), self.roots[at[first]].tolist(), strict=True))

    def inside(self, owner: int) -> slice:
        """Where in the table the positions of a parameter are."""
        line = self.line[owner]
        return slice(self.start[line], self.start[line + 1])

    def places(self, owner: int, kind: int) -> IntArray:
        """The positions of a group on an axis, ordered by unit and place."""
        inside = self.inside(owner)
        found: IntArray = np.flatnonzero(self.kind[inside] == kind)
        return found[np.argsort(self.unit[inside][found], kind="stable")]

    def operands(self, kind: int, count: int, role: str | None = None) -> tuple[Operand, ...]:
        """The operands of a group of `count` units; those of one role, or all."""
        return tuple(
            _operand(self.parameters[k], node, index, where)
            for k in self.owners[kind]
            if role is None or self.parameters[k].role == role
            for where in [self.places(k, kind).reshape(count, -1)]
            for node, index in self.parameters[k].uses
        )


def _begins(keys: IntArray) -> NDArray[np.bool_]:
    """Where in an array a run of equal keys begins: [keys]."""
    begins = np.ones(keys.size, dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=begins[1:])
    return begins


def _numbered(keys: IntArray) -> IntArray:
    """Numbers from 0 for the different keys: [keys]; most stand in long runs, of which one each is sorted."""
    begins = _begins(keys)
    _, number = np.unique(keys[begins], return_inverse=True)
    found: IntArray = number[np.cumsum(begins) - 1]
    return found


def _signatures(findings: Findings, units: Units, sizes: IntArray, unit: IntArray) -> IntArray:
    """A number for each unit, equal for units that occur alike: sums of random numbers, one an axis and segment.

    `unit` are those of the lines, one after the other, which are so long as `sizes` says.
    """
    random = np.random.default_rng(0)
    codes = random.integers(1, 1 << 62, size=sizes.size, dtype=np.int64)
    key = np.zeros(units.unit.size, dtype=np.int64)
    np.add.at(key, unit, np.repeat(codes, sizes))
    for labels in findings.segments:
        np.add.at(key, units.unit[labels], random.integers(1, 1 << 62, dtype=np.int64))
    for marked in (units.pinned, units.inexact):
        if marked:
            key[np.fromiter(marked, dtype=np.int64)] += random.integers(1, 1 << 62, dtype=np.int64)
    return key


def _group(table: _Table, units: Units, marked: Sequence[int | None], kind: int, members: IntArray) -> Group:
    """One group; `marked` are the first units of it that are pinned, inexact, unscaled, undivided and heads."""
    owners, parameters = table.owners[kind], table.parameters
    makers = [k for k in owners if parameters[k].role == "producer"]
    # A table that is looked up (a position bias) gives the group its name only where nothing else does.
    first = next((k for k in makers if parameters[k].uses[0][0].op_type != "Gather"), (makers or owners)[0])
    pinned, inexact, unscaled, undivided, heads = marked
    pin = None if pinned is None else units.pinned[pinned]
    size = table.count[kind, table.line[first]]
    name = parameters[first].value.name or ""
    return Group(
        id=name if parameters[first].role == "producer" else f"{name}:{parameters[first].axis}",
        size=size,
        step=size // members.size,
        resizable=pin is None,
        reason="" if pin is None else pin_text(pin.node, pin.op, pin.reason),
        inexact="" if inexact is None else units.inexact[inexact],
        operands=Operands(lambda role: table.operands(kind, members.size, role)),
        units=members,
        unscaled="" if unscaled is None else units.unscaled[unscaled],
        divisible=undivided is None,
        heads=heads is not None,
    )


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
