"""The lowering of edges: zeros first; cuts and narrower producers then take away what is read by zeros."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis, Group
from chanc.analysis.analyze import grouped
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.run import visit_model
from chanc.boundary import boundary
from chanc.errors import PlanError
from chanc.ir.names import Names, value_names
from chanc.ops import Trait, has
from chanc.rewriter.edges.chains import Chain
from chanc.rewriter.edges.consecutive import consecutive
from chanc.rewriter.edges.cuts import insert_cut, is_cut, settle, take_out
from chanc.rewriter.edges.emptied import take_out_empty
from chanc.rewriter.edges.lines import line, units_of
from chanc.rewriter.edges.plan import Edge, Mask, Place, Wishes, edges_of
from chanc.rewriter.edges.unread import read_units
from chanc.rewriter.parameters import give
from chanc.rewriter.plan import Resizing
from chanc.rewriter.rest import Left
from chanc.rewriter.trace import TraceEdge
from chanc.rewriter.zero import stored_zero

ORDERLESS = (
    Trait.CONVOLUTION, Trait.LINEAR, Trait.ELEMENTWISE, Trait.CHANNELWISE, Trait.POOL, Trait.VIEW, Trait.RECAST,
)  # fmt: skip
"""Operators that see no order of channels."""


@dataclass(slots=True)
class Lowering:
    """The edges of a model whose columns are zero, and the cuts that were put in; `analysis` is that with the cuts.

    grain: widths that edges make are multiples of it, in channels, by some that are read by zeros. gone: the edges
    whose consumers kept nothing and went. refused: the names of edges that could be narrower, and why they aren't.
    cuts: by the name of the edge.
    """

    analysis: Analysis
    edges: list[Edge]
    names: Names
    grain: int = 1
    gone: list[Edge] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, list[ir.Node]] = field(default_factory=dict)

    @classmethod
    @boundary("the lowering of edges")
    def of(cls, analysis: Analysis, wishes: Wishes, leave: Left, grain: int = 1, everywhere: bool = False) -> Lowering:
        """Zero what isn't kept and put the cuts in, in place; `everywhere` also where dense zeros would be cheaper."""
        lowering = cls(analysis, edges_of(analysis, wishes), Names(value_names(analysis.model.graph)), grain)
        analysis.spend()
        for edge in lowering.edges:
            lowering._zero(edge)
        for edge in lowering.edges:
            if edge.node.graph is not None and not edge.kept.any():
                take_out_empty(analysis, edge.node, lowering.names)
        lowering.gone = [edge for edge in lowering.edges if edge.node.graph is None]
        if lowering.gone:
            lowering.edges = [edge for edge in lowering.edges if edge not in lowering.gone]
            lowering._analyse()
        for name, places in lowering._places(leave, everywhere).items():
            lowering.cuts[name] = [insert_cut(lowering.analysis, place, lowering.names) for place in places]
        lowering._analyse()
        return lowering

    def _places(self, leave: Left, everywhere: bool) -> dict[str, list[Place]]:
        """Where to cut for each edge that gains by it."""
        read = read_units(self.analysis, self._columns)
        parameters = self.analysis.findings.parameters
        macs = self.analysis.node_costs()
        takers = {node for p in parameters if p.role == "consumer" for node, _ in p.uses}
        places = {}
        for edge in self.edges:
            kept = np.zeros_like(read)
            kept[self._units(edge)[edge.kept]] = True
            gain, where = Chain(self.analysis, kept, read, takers, macs).cheapest(edge.node)
            if edge.name in leave:
                self.refused[edge.name] = leave[edge.name]
            elif where and (gain > 0 or everywhere):
                places[edge.name] = where
            elif everywhere and (read & ~kept)[self._units(edge)].any():
                self.refused[edge.name] = "what it doesn't keep can't be cut off, and weights are drawn anew"
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

    @property
    def hidden(self) -> set[str]:
        """The ids of the groups behind cuts, which the model that came in doesn't have."""
        behind = self._behind(self.cuts)
        return {group.id for group in self.analysis.groups if behind[group.units].any()}

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
            stays = self._filled(group, read[group.units], read[group.units]) if plan is None else plan.copies > 0
            units = np.flatnonzero(stays)
            order = self._order(group, units, kept) if plan is None else units
            there[np.delete(group.units, units)] = False
            content[group.units[units]] = group.units[order]
            copies = np.bincount(units, minlength=stays.size)
            unread += [Resizing(group, copies, order)] if plan is None else []
        return unread, self._cut(kept & behind, content, there)

    def _kept_behind(self, behind: Mask) -> Mask:
        """The units behind cuts that their edges keep, and some to fill up; all that are not behind are True: [labels].

        Filled up is with what others read as well, as far as that goes.
        """
        kept = ~behind
        for edge in self.edges:
            if edge.name in self.cuts:
                kept[self._units(edge)[edge.kept]] = True
        read = read_units(self.analysis, self._columns, kept)
        liked = np.zeros(kept.size, dtype=bool)
        for before, after in map(self._ends, self._all_cuts):
            liked[after] = read[before]
        for group in self.analysis.groups:
            if behind[group.units].any():
                kept[group.units] = self._filled(group, kept[group.units], liked[group.units])
        return kept

    def _filled(self, group: Group, mask: Mask, liked: Mask) -> Mask:
        """The mask of a group's units with as many more as make its width a multiple of the grain; at least one."""
        grain = math.lcm(group.step, self.grain) // group.step
        count = int(np.count_nonzero(mask))
        free = np.flatnonzero(~mask)[np.argsort(~liked[~mask], kind="stable")]
        more = -(-max(count, 1) // grain) * grain - count
        return mask | np.isin(np.arange(mask.size), free[:more])

    @property
    def _all_cuts(self) -> list[ir.Node]:
        return [cut for cuts in self.cuts.values() for cut in cuts]

    def _touched(self, kept: Mask, behind: Mask) -> list[Group]:
        """The groups of whose channels some edge drops any."""
        dropped = np.zeros(kept.size, dtype=bool)
        for edge in self.edges:
            dropped[self._units(edge)[~edge.kept]] = True
        for before, after in map(self._ends, self._all_cuts):
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
        ends = [*map(self._ends, self._all_cuts)]
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
        stays, alive = np.zeros(kept.size, dtype=bool), np.zeros(kept.size, dtype=bool)
        source = np.arange(kept.size)
        for before, after in map(self._ends, self._all_cuts):
            place = np.zeros(kept.size, dtype=np.int64)
            place[before] = np.arange(before.size)
            moved = content[before] != before
            origin = np.where(moved, after[place[content[before]]], after)
            source[after] = origin
            alive[after] = there[before]
            stays[after] = kept[origin]
        stays &= alive
        found = []
        for name in self.cuts:
            behind = self._behind([name])
            for group in (group for group in self.analysis.groups if behind[group.units].any()):
                left = stays[group.units]
                copies = (left if left.any() else self._filled(group, left, alive[group.units])).astype(np.int64)
                values = np.searchsorted(group.units, source[group.units[copies > 0]])
                found.append(Resizing(dataclasses.replace(group, id=name), copies, values))
        return found

    def finish(self, chosen: Sequence[Resizing]) -> dict[str, TraceEdge]:
        """Make standard operators of the cuts; what became of each edge."""
        gone = np.zeros(self.analysis.units.unit.size, dtype=bool)
        for resizing in chosen:
            gone[np.delete(resizing.group.units, resizing.source)] = True
        units = {edge.name: self._units(edge) for edge in self.edges}
        dense = {edge.name for edge in self.edges if not gone[units[edge.name][~edge.kept]].all()}
        made = settle(self.analysis.model, self._all_cuts, self.names)
        found = {}
        for edge in self.edges + self.gone:
            ways = {made[cut] for cut in self.cuts.get(edge.name, [])} - {"whole"}
            how = "+".join(sorted(ways)) or ("dense" if edge.name in dense else "producer")
            how = "gone" if edge in self.gone else how
            kept = np.flatnonzero(edge.kept if edge in self.gone else edge.kept & ~gone[units[edge.name]])
            node = edge.name.rpartition(":")[0]
            reason = self.refused.get(edge.name, "")
            found[edge.name] = TraceEdge(node, edge.input, edge.axis, kept, how, reason)
        return found


def _stored(value: ir.Value) -> Any:
    return None if value.const_value is None else value.const_value.numpy()
