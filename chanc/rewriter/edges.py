"""Edges: which channels of a group each of its consumers reads, lowered to a graph.

    {"edges": {"<node's first output>:<input>": [kept units of the group]}}

means the model in which the columns of that weight are zero for all other units. They are set to zero first, so that
whatever can't follow is right as it is; all that comes then only takes away what is read by zeros. A Cut is put on the
private chain of a consumer where that pays (`chanc.rewriter.cuts`): the channels behind it are a group of their own,
of which an ordinary rewrite keeps what the consumer keeps. Channels that no reader keeps go with their producers, which
are reordered where that makes slices of what is read.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis, Group
from chanc.analysis.analyze import grouped
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.groups import Operand
from chanc.analysis.run import visit_model
from chanc.boundary import boundary
from chanc.errors import PlanError
from chanc.ir.initializers import constant_shape
from chanc.ir.names import Names, value_names
from chanc.ir.nodes import called, nodes_of
from chanc.ops import Trait, has
from chanc.rewriter.consecutive import consecutive
from chanc.rewriter.cuts import Chain, Mask, Place, insert_cut, is_cut, settle, take_out
from chanc.rewriter.parameters import give
from chanc.rewriter.plan import Resizing
from chanc.rewriter.rest import Left
from chanc.rewriter.trace import TraceEdge
from chanc.rewriter.unread import line, read_units, units_of
from chanc.rewriter.zero import stored_zero

Wishes = Mapping[str, Any]
"""Kept units by the name of an edge: a list, or a list for each group where a weight takes channels of several."""

ORDERLESS = (
    Trait.CONVOLUTION, Trait.LINEAR, Trait.ELEMENTWISE, Trait.CHANNELWISE, Trait.POOL, Trait.VIEW, Trait.RECAST,
)  # fmt: skip
"""Operators that see no order of channels."""


def edge_name(operand: Operand) -> str:
    """What an edge plan calls a consumer: the node's first output, and the input where its weight is."""
    return f"{operand.node}:{operand.input}"


def consumers(analysis: Analysis) -> dict[str, dict[str, Operand]]:
    """The consumers of a model by name, and for each the operands by the id of the group whose channels it takes.

    Row u of an operand's `indices` holds the columns of unit u of the group: what an edge plan keeps or not.
    """
    found: dict[str, dict[str, Operand]] = defaultdict(dict)
    for group in analysis.groups:
        for operand in group.operands:
            if operand.role == "consumer":
                found[edge_name(operand)][group.id] = operand
    return dict(found)


@dataclass(frozen=True, slots=True)
class Edge:
    """A consumer that doesn't keep all its columns: its node, the input and axis of its weight, and the mask: [size]."""

    name: str
    node: ir.Node
    input: int
    axis: int
    kept: Mask

    @property
    def place(self) -> Place:
        """The node and the input of its weight."""
        return self.node, self.input


def edges_of(analysis: Analysis, wishes: Wishes) -> list[Edge]:
    """What an edge plan asks of consumers, but for those that keep everything. PlanError for what isn't one."""
    known = consumers(analysis)
    nodes = {called(node): node for node in nodes_of(analysis.model.graph)}
    found = []
    for name, wish in wishes.items():
        if name not in known:
            raise PlanError(f"there is no consumer '{name}' in this model: give a node's first output:input")
        operands = known[name]
        first = next(iter(operands.values()))
        node = nodes[first.node]
        value = node.inputs[first.input]
        assert value is not None
        kept = np.ones(constant_shape(value)[first.axis], dtype=bool)
        for group, units in _by_group(name, wish, operands).items():
            dropped = np.setdiff1d(np.arange(operands[group].indices.shape[0]), units)
            kept[operands[group].indices[dropped]] = False
        if not kept.all():
            found.append(Edge(name, node, first.input, first.axis, kept))
    return found


def _by_group(name: str, wish: Any, operands: Mapping[str, Operand]) -> dict[str, IntArray]:
    if isinstance(wish, list) and len(operands) == 1:
        wish = {next(iter(operands)): wish}
    if not isinstance(wish, Mapping):
        raise PlanError(f"edge '{name}': give the kept units of each group: {', '.join(operands)}")
    found = {}
    for group, units in wish.items():
        if group not in operands:
            raise PlanError(f"edge '{name}' takes no channels of a group '{group}'")
        count = operands[group].indices.shape[0]
        if not isinstance(units, list) or not all(type(n) is int and 0 <= n < count for n in units):
            raise PlanError(f"edge '{name}': group '{group}' has units 0 to {count - 1}")
        found[group] = np.array(units, dtype=np.int64)
    return found


@dataclass(slots=True)
class Lowering:
    """The edges of a model whose columns are zero, and the cuts that were put in; `analysis` is that with the cuts.

    refused: the names of edges that could be narrower, and why they aren't. cuts: by the name of the edge.
    """

    analysis: Analysis
    edges: list[Edge]
    refused: dict[str, str]
    names: Names
    cuts: dict[str, list[ir.Node]] = field(default_factory=dict)

    @classmethod
    @boundary("the lowering of edges")
    def of(cls, analysis: Analysis, wishes: Wishes, leave: Left, everywhere: bool = False) -> Lowering:
        """Zero what isn't kept and put the cuts in, in place; `everywhere` also where dense zeros would be cheaper."""
        names = Names(value_names(analysis.model.graph))
        edges = edges_of(analysis, wishes)
        lowering = cls(analysis, edges, {}, names)
        places = lowering._places(leave, everywhere)
        analysis.spend()
        for edge in edges:
            lowering._zero(edge)
        for name, where in places.items():
            lowering.cuts[name] = [insert_cut(analysis, place, names) for place in where]
        lowering._analyse()
        return lowering

    def _places(self, leave: Left, everywhere: bool) -> dict[str, list[Place]]:
        """Where to cut for each edge that gains by it."""
        read = read_units(self.analysis, self._columns)
        places = {}
        for edge in self.edges:
            kept = np.zeros_like(read)
            kept[self._units(edge)[edge.kept]] = True
            gain, where = Chain(self.analysis, kept, read).cheapest(edge.node)
            if edge.name in leave:
                self.refused[edge.name] = leave[edge.name]
            elif where and (gain > 0 or everywhere):
                places[edge.name] = where
        return places

    @property
    def _columns(self) -> dict[Place, Mask]:
        return {edge.place: edge.kept for edge in self.edges}

    def _units(self, edge: Edge) -> IntArray:
        """The units along the axis of an edge's weight."""
        for parameter in self.analysis.findings.parameters:
            if parameter.axis == edge.axis and edge.place in parameter.uses:
                return self.analysis.units.unit[parameter.labels]
        raise PlanError(f"edge '{edge.name}' takes no channels any more")

    def _zero(self, edge: Edge) -> None:
        """Set the columns that aren't kept to zero, in a weight of this use's own."""
        value = edge.node.inputs[edge.input]
        assert value is not None and value.const_value is not None
        if value in self.analysis.findings.fed:
            raise PlanError(f"edge '{edge.name}': a caller may feed the weight '{value.name}'")
        array = value.const_value.numpy().copy()
        zero = stored_zero(array.shape, edge.node, edge.input, _stored)
        gone = (slice(None),) * edge.axis + (np.flatnonzero(~edge.kept),)
        array[gone] = 0 if zero is None else zero[gone]
        give(self.analysis.model.graph, self.names, value, [edge.place], array, len(value.uses()))

    def _analyse(self) -> None:
        """Analyse the model with its cuts, and without those that are no good, until all are."""
        while True:
            before = self.analysis
            findings = visit_model(before.model, before.findings.modes, before.findings.open_data)
            found = grouped(before.model, findings, before.given, before.opened)
            self.analysis = dataclasses.replace(found, folded=before.folded)
            bad = {edge.name: reason for edge in self.edges if (reason := self._unfit(edge))}
            if not bad:
                return
            self.refused.update(bad)
            for name in bad:
                for cut in self.cuts.pop(name):
                    take_out(cut)

    def _unfit(self, edge: Edge) -> str:
        """Why the channels behind an edge's cuts can't go; '' where they can, or there are none."""
        if edge.name not in self.cuts:
            return ""
        behind = self._behind([edge.name])
        groups = [group for group in self.analysis.groups if behind[group.units].any()]
        for group in groups:
            if not behind[group.units].all() or group.producers:
                return "channels are made behind the place where they could be cut"
            if not group.resizable or group.inexact:
                return group.reason or group.inexact
        taken = np.isin(np.flatnonzero(behind), self._units(edge)).all()
        return "" if groups and taken else "it doesn't take what is cut as it is"

    def _behind(self, names: Iterable[str]) -> Mask:
        """Whether a unit is behind the cuts of these edges: [labels]."""
        found = np.zeros(self.analysis.units.unit.size, dtype=bool)
        for cut in (cut for name in names for cut in self.cuts[name]):
            found[line(self.analysis, cut.outputs[0])] = True
        return found

    def narrowed(self, asked: Sequence[Resizing], leave: Left) -> tuple[list[Resizing], list[Resizing]]:
        """What edges ask of groups beside the plan: those of whose channels nobody reads all, and those behind cuts.

        PlanError where the plan lets a group grow of which consumers read a part.
        """
        analysis, behind = self.analysis, self._behind(self.cuts)
        kept = self._kept_behind(behind)
        read = read_units(analysis, self._columns, kept)
        given = {resizing.group.id: resizing for resizing in asked}
        content = np.arange(behind.size)
        there = np.ones(behind.size, dtype=bool)
        unread: list[Resizing] = []
        for group in self._touched(kept, behind):
            plan = given.get(group.id)
            if plan is not None and (plan.copies > 1).any():
                raise PlanError(
                    f"group '{group.id}' can't grow while consumers read a part of it: do one, then the other"
                )
            if plan is None and (not group.resizable or group.inexact or group.id in leave):
                continue
            stays = read[group.units] if plan is None else plan.copies > 0
            units = np.flatnonzero(stays if stays.any() else np.arange(stays.size) == 0)
            order = self._order(group, units, kept) if plan is None else units
            there[np.delete(group.units, units)] = False
            content[group.units[units]] = group.units[order]
            copies = np.bincount(units, minlength=stays.size)
            unread += [Resizing(group, copies, order)] if plan is None else []
        return unread, self._cut(kept & behind, content, there)

    def _kept_behind(self, behind: Mask) -> Mask:
        """The units behind cuts that their edges keep, at least one of each group; all others are True: [labels]."""
        kept = ~behind
        for edge in self.edges:
            if edge.name in self.cuts:
                kept[self._units(edge)[edge.kept]] = True
        for group in self.analysis.groups:
            if not kept[group.units].any():
                kept[group.units[0]] = True
        return kept

    def _touched(self, kept: Mask, behind: Mask) -> list[Group]:
        """The groups of whose channels some edge drops any."""
        dropped = np.zeros(kept.size, dtype=bool)
        for edge in self.edges:
            dropped[self._units(edge)[~edge.kept]] = True
        for cut in (cut for cuts in self.cuts.values() for cut in cuts):
            before, after = self._ends(cut)
            dropped[before[~kept[after]]] = True
        dropped &= ~behind
        return [group for group in self.analysis.groups if dropped[group.units].any()]

    def _ends(self, cut: ir.Node) -> tuple[IntArray, IntArray]:
        """The units before and behind a Cut, position by position."""
        return line(self.analysis, cut.inputs[0]), line(self.analysis, cut.outputs[0])

    def _order(self, group: Group, units: IntArray, kept: Mask) -> IntArray:
        """These units of a group in an order in which what is kept behind cuts stands side by side, if there is one."""
        rank = np.full(kept.size, -1)
        rank[group.units[units]] = np.arange(units.size)
        sets = []
        ends = [self._ends(cut) for cuts in self.cuts.values() for cut in cuts]
        times = np.bincount(np.concatenate([np.empty(0, dtype=np.int64), *(after for _, after in ends)]))
        for before, after in ends:
            if not np.isin(before, group.units).any():
                continue
            # Where several channels are one behind cuts, all must move alike.
            if np.unique(before).size < before.size or (times[after] > 1).any():
                return units
            ranks = np.sort(rank[before[kept[after]]])
            if np.isin(before, group.units).all() and ranks.size:
                sets.append(ranks)
        if all((np.diff(ranks) == 1).all() for ranks in sets) or not self._orderless(group):
            return units
        return units[consecutive(units.size, sorted(sets, key=len, reverse=True))]

    def _orderless(self, group: Group) -> bool:
        """Whether every node that has channels of a group to do with sees no order among them."""
        mine = np.zeros(self.analysis.units.unit.size, dtype=bool)
        mine[group.units] = True
        return all(
            is_cut(node) or node.op_type in ("Concat", "Shape") or has(node, *ORDERLESS)
            for value in self.analysis.findings.layouts
            if mine[units_of(self.analysis, value)].any()
            for node in (value.producer(), *(user for user, _ in value.uses()))
            if node is not None
        )

    def _cut(self, kept: Mask, content: IntArray, there: Mask) -> list[Resizing]:
        """The resizings of the groups behind cuts, which get the names of the edges.

        content: the unit whose values a unit has after a reordering; there: whether it is still there.
        """
        stays, source = np.zeros(kept.size, dtype=bool), np.arange(kept.size)
        for cut in (cut for cuts in self.cuts.values() for cut in cuts):
            before, after = self._ends(cut)
            place = np.zeros(kept.size, dtype=np.int64)
            place[before] = np.arange(before.size)
            moved = content[before] != before
            origin = np.where(moved, after[place[content[before]]], after)
            source[after] = origin
            stays[after] = kept[origin]
            stays[after[~there[before]]] = False
        found = []
        for name in self.cuts:
            behind = self._behind([name])
            for group in (group for group in self.analysis.groups if behind[group.units].any()):
                copies = stays[group.units].astype(np.int64)
                values = np.searchsorted(group.units, source[group.units[copies > 0]])
                found.append(Resizing(dataclasses.replace(group, id=name), copies, values))
        return found

    def finish(self, chosen: Sequence[Resizing]) -> dict[str, TraceEdge]:
        """Make standard operators of the cuts; what became of each edge."""
        gone = np.zeros(self.analysis.units.unit.size, dtype=bool)
        for resizing in chosen:
            gone[resizing.group.units[resizing.copies == 0]] = True
        dense = {edge.name for edge in self.edges if not gone[self._units(edge)[~edge.kept]].all()}
        made = settle(self.analysis.model, [cut for cuts in self.cuts.values() for cut in cuts], self.names)
        found = {}
        for edge in self.edges:
            ways = {made[cut] for cut in self.cuts.get(edge.name, [])} - {"whole"}
            how = "+".join(sorted(ways)) or ("dense" if edge.name in dense else "producer")
            kept = np.flatnonzero(edge.kept)
            found[edge.name] = TraceEdge(
                called(edge.node), edge.input, edge.axis, kept, how, self.refused.get(edge.name, "")
            )
        return found


def _stored(value: ir.Value) -> Any:
    return None if value.const_value is None else value.const_value.numpy()
