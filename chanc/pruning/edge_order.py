"""Which edges go first: those of the lowest ratios, of all layers together.

    worth of an edge = what its layer loses with it, where the weakest go first: S^2 / S(n), as in `rewriter.allocate`
    ratio of an edge = worth / cost

S(n) are the scores of the n inputs that are left; an edge costs its columns, and where nobody else reads its unit all
that makes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from chanc.analysis import Analysis, Group
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.groups import Operand
from chanc.cost.cost import Cost, NodeCost
from chanc.ir.initializers import constant_shape
from chanc.rewriter.allocate import even
from chanc.rewriter.choose import judged
from chanc.rewriter.edges import consumers
from chanc.rewriter.importance import IN_LOSS, Evidence, Gathered, Importance, Moments
from chanc.rewriter.plan import measure_of

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Costs = Analysis | Cost | NodeCost
"""What has params and MACs."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A layer that may drop inputs: its name in an edge plan, and its weight's axis by the groups that it reads.

    Its edges are the units of these groups, one after the other.
    """

    name: str
    operands: Mapping[str, Operand]

    @property
    def inputs(self) -> IntArray:
        """The positions on the weight's axis of each edge: [edges]."""
        return np.concatenate([np.full(len(o.indices), o.indices.shape[1]) for o in self.operands.values()])

    def by_group(self, edges: Mask) -> dict[str, Mask]:
        """What is told of each edge, group by group."""
        ends = np.cumsum([len(operand.indices) for operand in self.operands.values()])
        return dict(zip(self.operands, np.split(edges, ends[:-1]), strict=True))


@dataclass(frozen=True, slots=True)
class Order:
    """The readers of a model, and their edges, numbered reader by reader, from the first that goes to the last.

    grain: a reader's inputs are a multiple of it, by the last of its edges that went.
    """

    readers: Sequence[Reader]
    edges: IntArray
    grain: int

    def kept(self, gone: IntArray) -> dict[str, dict[str, list[int]]]:
        """The units that readers keep when these edges are gone, in the order of `edges`: what an edge plan says."""
        owners, starts, found = self.owners(gone), self._starts, {}
        for number in np.unique(owners):
            reader, mine = self.readers[number], gone[owners == number] - starts[number]
            kept = np.ones(reader.inputs.size, dtype=bool)
            kept[self._rounded(mine, reader.inputs)] = False
            if not kept.all():
                found[reader.name] = {of: np.flatnonzero(part).tolist() for of, part in reader.by_group(kept).items()}
        return found

    def owners(self, edges: IntArray) -> IntArray:
        """The readers of edges, by their number."""
        return np.searchsorted(self._starts, edges, side="right") - 1

    def given_back(self, gone: IntArray, reader: int) -> IntArray:
        """The edges that are gone without a grain of one reader's, the last of them that went."""
        mine = np.flatnonzero(self.owners(gone) == reader)
        return np.delete(gone, mine[-self.grain :])

    @property
    def _starts(self) -> IntArray:
        return np.cumsum([0, *(reader.inputs.size for reader in self.readers)])

    def _rounded(self, gone: IntArray, inputs: IntArray) -> IntArray:
        """The edges of a reader that are gone, without the last of them that make what is left a multiple."""
        more = -(int(inputs.sum()) - int(inputs[gone].sum())) % self.grain
        back = np.cumsum(inputs[gone][::-1])
        return gone[: gone.size - int(np.searchsorted(back, more)) - 1] if more else gone


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, None where there is none."""

    params: float | None = None
    macs: float | None = None

    def shares(self, cost: Costs) -> dict[str, float]:
        """What a cost, params and MACs, takes of each bound."""
        given = {"params": self.params, "macs": self.macs}
        return {name: float(getattr(cost, name)) / bound for name, bound in given.items() if bound is not None}

    def met(self, cost: Costs) -> bool:
        """Whether a cost is within all bounds."""
        return max(self.shares(cost).values(), default=0.0) <= 1


def readers_of(analysis: Analysis, staying: Mapping[str, object]) -> Iterator[Reader]:
    """The layers that may drop inputs, each a weight of its own, without the groups that are to stay."""
    groups = {group.id for group in analysis.groups if group.resizable and group.id not in staying}
    every = consumers(analysis)
    uses = Counter(next(iter(operands.values())).initializer for operands in every.values())
    for name, operands in every.items():
        mine = {group: operand for group, operand in operands.items() if group in groups}
        if mine and all(uses[operand.initializer] == 1 for operand in mine.values()):
            yield Reader(name, mine)


def ordered(
    analysis: Analysis, readers: Sequence[Reader], seen: Evidence, importance: str, limits: Limits,
    least: Mapping[str, int],
) -> IntArray:  # fmt: skip
    """All edges that may go, numbered reader by reader, those first that are worth least for what they cost."""
    measure, prices = measure_of(importance), _Prices(analysis, readers, limits)
    compare = importance in IN_LOSS and all(
        _place(o) in seen.seen.axes for reader in readers for o in reader.operands.values()
    )
    ratios = []
    for reader in readers:
        scores, costs = _scores(analysis, reader, measure, seen), prices.of(reader)
        if not compare:  # as much as they cost is what they are worth beside those of other readers
            scores = even(scores) * float(costs.mean())
        ratios.append(_ratios(scores, costs, reader.inputs, least[reader.name]))
    every = np.concatenate(ratios)
    edges = np.argsort(every, kind="stable")
    return edges[: int(np.isfinite(every).sum())]


def _place(operand: Operand) -> tuple[str, int, int]:
    """Where evidence tells of an operand."""
    return operand.node, operand.input, operand.axis


def _scores(analysis: Analysis, reader: Reader, measure: Importance, seen: Evidence) -> Floats:
    """What an importance says of each edge of a reader: what it says of a group that nothing else reads: [edges]."""
    found = []
    for name, operand in reader.operands.items():
        group = replace(analysis.group(name), operands=(operand,))
        found.append(judged(group, measure, replace(seen, gathered=_alone(seen.gathered, group, operand))))
    return np.concatenate(found)


def _alone(gathered: Gathered | None, group: Group, operand: Operand) -> Gathered | None:
    """The evidence of a group as if one consumer alone read it."""
    moments = gathered.axes.get(_place(operand)) if gathered is not None else None
    if gathered is None or moments is None:
        return gathered
    sums = (of[operand.indices].sum(axis=1) for of in (moments.absolute, moments.signed, moments.squared))
    return replace(gathered, taken={group.id: Moments(*sums)}, made={})


class _Prices:
    """What edges cost: shares of the bounds that are overdrawn."""

    def __init__(self, analysis: Analysis, readers: Sequence[Reader], limits: Limits) -> None:
        self._analysis, self._limits = analysis, limits
        self._nodes = analysis.node_costs()
        self._over = {name for name, share in limits.shares(analysis).items() if share > 1}
        self._readers = Counter(name for operands in consumers(analysis).values() for name in operands)

    def of(self, reader: Reader) -> Floats:
        """Of each edge: [edges]."""
        return np.concatenate([
            np.full(len(operand.indices), self._unit(name) if self._readers[name] == 1 else self._columns(operand))
            for name, operand in reader.operands.items()
        ])  # fmt: skip

    def _columns(self, operand: Operand) -> float:
        """The part of the reader that is for one unit."""
        value = self._analysis.model.graph.initializers[operand.initializer]
        node = self._nodes.get(operand.node)
        return self._share(node) * operand.indices.shape[1] / constant_shape(value)[operand.axis] if node else 0.0

    def _unit(self, name: str) -> float:
        """All that is for one unit of a group."""
        group = self._analysis.group(name)
        less = self._analysis.cost_at({name: group.size - group.step})
        return self._share(self._analysis) - self._share(less)

    def _share(self, cost: Costs) -> float:
        return sum(share for name, share in self._limits.shares(cost).items() if name in self._over)


def _ratios(scores: Floats, costs: Floats, inputs: IntArray, least: int) -> Floats:
    """Worth over cost of each edge of a reader; infinite for the strongest, which are the least inputs: [edges]."""
    order = np.argsort(scores, kind="stable")
    held = np.cumsum(scores[order][::-1])[::-1]
    after = np.append(held[1:], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        lost = np.where(held > 0, held[0] ** 2 * (1 / after - 1 / held), 0.0)
        ratios = np.where(costs[order] > 0, lost / costs[order], np.inf)
    stronger = np.cumsum(inputs[order][::-1])[::-1] - inputs[order]
    ratios[stronger < least] = np.inf
    found = np.empty_like(ratios)
    found[order] = np.maximum.accumulate(ratios)
    return found
