"""The edges of a network: which channels of which groups each of its weights takes.

An edge is a pair of a consumer, a weight that takes channels, and a unit of a group. There are edges where a choice by
consumer is more than a choice of widths: of groups that several weights read, and of those that a weight reads beside
others, behind a Concat. What an edge costs are the parameters that nothing needs once it is gone: its columns, and
what is the unit's own on the way to them, such as a depthwise filter.
"""

from __future__ import annotations

import fnmatch
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from torch import nn

from chanc.analysis import Analysis, Group
from chanc.analysis.groups import Operand
from chanc.errors import ModelError
from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import called, nodes_of
from chanc.ops import weight_of
from chanc.rewriter.importance.gathered import Place
from chanc.training.module import Trainable
from chanc.training.units import Indices, Site, UnitMap

Kept = NDArray[np.bool_]
"""Whether an edge is there: [edges]."""

Units = dict[str, dict[str, tuple[int, ...]]]
"""Units of groups by consumer, "<node's first output>:<input>", and by group."""

Decided = Mapping[str, Mapping[str, Sequence[int]]]
"""The units that consumers keep, of those that don't keep all: what `Edges.decided` tells, or a run's decision."""


@dataclass(frozen=True)
class Consumer:
    """A weight, the entries of the module that hold it, and the edge at each position of its axis, -1 for none."""

    name: str
    initializer: str
    entries: tuple[str, ...]
    shape: tuple[int, ...]
    axis: int
    line: Indices
    spans: Mapping[str, slice]
    """The edges of each group that it reads: one a unit, in their order."""

    @property
    def edges(self) -> slice:
        """Its edges: they are numbered consumer by consumer."""
        return slice(min(span.start for span in self.spans.values()), max(span.stop for span in self.spans.values()))

    @property
    def whole(self) -> bool:
        """Whether it reads nothing but its edges."""
        return bool((self.line >= 0).all())


@dataclass(frozen=True)
class Edges:
    """All edges of a network.

    inputs: of each edge, the positions on its weight's axis: channels, or what a channel is behind a Flatten. costs: of
    each edge, in parameters; params: of the whole network. fixed: the weights that take all channels of what they read,
    with the reason.
    """

    consumers: tuple[Consumer, ...]
    inputs: Indices
    costs: Indices
    params: int
    fixed: Mapping[str, str]

    def __len__(self) -> int:
        return self.costs.size

    @property
    def layer(self) -> Indices:
        """The consumer of each edge, by its number: [edges]."""
        sizes = [one.edges.stop - one.edges.start for one in self.consumers]
        return np.repeat(np.arange(len(sizes)), sizes)

    def cost(self, kept: Kept) -> int:
        """The parameters of the network with these edges alone."""
        return self.params - int(self.costs[~kept].sum())

    def counts(self, kept: Kept) -> dict[str, int]:
        """How many inputs each consumer has left, of those that are edges; by its initializer."""
        there = self.inputs * kept
        return {one.initializer: int(there[one.edges].sum()) for one in self.consumers}

    def units(self, marked: Kept) -> Units:
        """The units of marked edges, of the consumers that have such."""
        return {
            one.name: {group: tuple(map(int, np.flatnonzero(marked[span]))) for group, span in one.spans.items()
                       if marked[span].any()}
            for one in self.consumers
            if marked[one.edges].any()
        }  # fmt: skip

    def decided(self, kept: Kept) -> Units:
        """The kept units of all groups that a consumer reads, of the consumers that don't keep all."""
        return {
            one.name: {group: tuple(map(int, np.flatnonzero(kept[span]))) for group, span in one.spans.items()}
            for one in self.consumers
            if not kept[one.edges].all()
        }

    def kept(self, decided: Decided) -> Kept:
        """Whether each edge is there where consumers keep these units."""
        kept = np.ones(len(self), dtype=bool)
        for one in self.consumers:
            for group, units in decided.get(one.name, {}).items():
                kept[one.spans[group]] = False
                kept[one.spans[group].start + np.array(units, dtype=np.int64)] = True
        return kept


def edges_of(
    analysis: Analysis, units: UnitMap, net: Trainable, *, wanted: Sequence[str] = ("*",), keep: Collection[str] = (),
    alone: bool = False,
) -> Edges:  # fmt: skip
    """The edges of an analysed model, of whose weights the network was made; `units` are the model's in the network.

    wanted: patterns of the weights that may lose channels. keep: ids of groups all of whose channels stay. alone: those
    too of weights that alone read what they read. Raises: ModelError where there is no edge.
    """
    sites = {(site.group, *site.place): site for site in units.sites if site.side == "taken"}
    read = [(group, operand) for group in analysis.groups for operand in group.operands if operand.role == "consumer"]
    uses: dict[str, set[Place]] = defaultdict(set)
    readers: Counter[str] = Counter()
    for group, operand in read:
        uses[operand.initializer].add((operand.node, operand.input, operand.axis))
        readers[group.id] += 1
    shared = {name for name, places in uses.items() if len(places) > 1}
    fixed: dict[str, str] = {}
    taken: dict[tuple[str, str, int], list[Site]] = defaultdict(list)
    for group, operand in read:
        site = sites.get((group.id, operand.node, operand.input, operand.axis))
        why = (
            _stays(group, keep)
            or _unfit(operand, site, net, operand.initializer in shared)
            or _unwanted(operand, site, readers[group.id] == 1 and not alone, wanted)
        )
        if why or site is None:
            fixed.setdefault(operand.initializer, why)
        else:
            taken[operand.initializer, operand.node, operand.input].append(site)
    if not taken:
        told = next(iter(fixed.items()), ("", "there is none"))
        raise ModelError(f"no weight of this model can drop channels that it reads; of '{told[0]}': {told[1]}")
    consumers = tuple(_consumers(taken, units))
    there = {one.initializer for one in consumers}
    fixed = {name: why for name, why in fixed.items() if name not in there}
    inputs = np.concatenate([np.bincount(one.line[one.line >= 0])[one.edges] for one in consumers])
    return Edges(consumers, inputs, _costs(analysis, consumers, inputs), int(analysis.params), fixed)


def _stays(group: Group, keep: Collection[str]) -> str:
    """Why all channels of a group are read by all; '' where one may be dropped."""
    return group.reason or (f"'{group.id}' is to stay as it is" if group.id in keep else "")


def _unfit(operand: Operand, site: Site | None, net: Trainable, shared: bool) -> str:
    """Why a weight's columns can't be masked; '' where they can."""
    if shared:
        return "it is used at several places, as one weight"
    if site is None:
        return "it is no weight that trains"
    layers = (net.module.get_submodule(key.rpartition(".")[0]) for key in site.entries)
    return "it is a recurrent layer's" if any(isinstance(layer, nn.RNNBase) for layer in layers) else ""


def _unwanted(operand: Operand, site: Site | None, alone: bool, wanted: Sequence[str]) -> str:
    """Why a weight takes all channels of a group although it could drop some; '' where it may."""
    names = (operand.initializer, operand.node)
    if not any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in wanted):
        return "it is none of the consumers that were asked for"
    if alone and site is not None and operand.indices.size == site.shape[site.axis]:
        return "nothing else reads what it reads: what it drops is a matter of widths"
    return ""


def _consumers(taken: Mapping[tuple[str, str, int], Sequence[Site]], units: UnitMap) -> Iterator[Consumer]:
    """The weights with their edges, which are numbered in this order."""
    at = 0
    for (initializer, node, number), sites in taken.items():
        first, spans = sites[0], {}
        line = np.full(first.shape[first.axis], -1, dtype=np.int64)
        for site in sites:
            start = units.spans[site.group].start
            count = units.spans[site.group].stop - start
            spans[site.group] = slice(at, at + count)
            line[site.positions] = at + site.units - start
            at += count
        yield Consumer(f"{node}:{number}", initializer, first.entries, first.shape, first.axis, line, spans)


def _costs(analysis: Analysis, consumers: Sequence[Consumer], inputs: Indices) -> Indices:
    """What each edge costs, in parameters: [edges]."""
    nodes = {called(node): node for node in nodes_of(analysis.model.graph)}
    followers = _followers(analysis, nodes)
    mixing = {operand.node for group in analysis.groups for operand in group.operands if operand.role == "consumer"}
    costs = [np.zeros(0, dtype=np.int64)]
    for one in consumers:
        own = _private(nodes[one.name.rpartition(":")[0]], mixing)
        column = int(np.prod(one.shape)) // one.shape[one.axis]
        for group, span in one.spans.items():
            cost = inputs[span] * column
            for node, each in followers.get(group, {}).items():
                cost = cost + (each if node in own else 0)
            costs.append(cost)
    return np.concatenate(costs)


def _followers(analysis: Analysis, nodes: Mapping[str, ir.Node]) -> dict[str, dict[str, int]]:
    """By group and node, the parameters of a unit that its channels pass without being mixed."""
    found: dict[str, dict[str, int]] = {}
    for group in (group for group in analysis.groups if group.resizable):
        own: dict[str, int] = defaultdict(int)
        for operand in group.operands:
            weight = weight_of(nodes[operand.node], operand.input) if operand.node in nodes else None
            if operand.role == "follower" and weight is not None and not weight.statistic:
                shape = constant_shape(analysis.model.graph.initializers[operand.initializer])
                own[operand.node] += int(np.prod(shape)) // shape[operand.axis] * operand.indices.shape[1]
        found[group.id] = own
    return found


def _private(node: ir.Node, mixing: Collection[str]) -> set[str]:
    """The nodes whose outputs are for this one alone, up to those that others read too, or that mix channels."""
    found, ahead = set(), [node]
    while ahead:
        for value in ahead.pop().inputs:
            maker = value.producer() if value is not None else None
            if maker is None or len(maker.outputs) > 1 or value is None or len(value.uses()) > 1:
                continue
            if not value.is_graph_output() and called(maker) not in found and called(maker) not in mixing:
                found.add(called(maker))
                ahead.append(maker)
    return found
