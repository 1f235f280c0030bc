"""Edges in place of channels: each layer drops inputs of its own (`chanc.rewriter.edges`) until the model is cheap.

    worth of an edge = what its layer loses with it, where the weakest go first: S^2 / S(n), as in `rewriter.allocate`
    ratio of an edge = worth / cost,    the edges of all layers together go in the order of their ratios

S(n) are the scores of the n inputs that are left; an edge costs its columns, and where nobody else reads its unit all
that makes it. How many go is found by halving: only the lowered graph tells what is saved, since zeros that aren't
worth a cut are computed. What is computed all the same is read again at the end.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis import Analysis, Group, analyze
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.groups import Operand
from chanc.errors import PlanError
from chanc.ir.initializers import constant_shape
from chanc.pruning.budgets import Budgets
from chanc.pruning.cut import verified
from chanc.rewriter import Rewrite, rewrite
from chanc.rewriter.allocate import CLOSE, LEAST_SHARE, even
from chanc.rewriter.choose import judged
from chanc.rewriter.edges import Wishes, consumers
from chanc.rewriter.importance import IN_LOSS, Evidence, Gathered, Importance, Moments
from chanc.rewriter.plan import DEVICE_GRAIN, Apart, measure_of

Floats = NDArray[np.float64]
Lower = Callable[[Wishes], tuple[Rewrite, Analysis]]
HALVINGS = 9
"""So many models are lowered on the way to a budget: 0.2 % of all edges are between the last two."""


def refuse(budgets: Budgets, ratios: Mapping[str, float] | None) -> None:
    """Raise PlanError for what says nothing of edges."""
    if budgets.latency is not None:
        raise PlanError("edges are cut under --max-params and --max-macs; a latency is met by channels")
    if ratios:
        raise PlanError("a --ratio is the share of a group's width; how wide groups are follows from the edges")


@dataclass(frozen=True, slots=True)
class Reader:
    """A layer that may drop inputs: its name in an edge plan, and its weight's axis by the groups that it reads.

    Its edges are the units of these groups, one after the other. node: by its first output.
    """

    name: str
    operands: Mapping[str, Operand]

    @property
    def inputs(self) -> IntArray:
        """The positions on the weight's axis of each edge: [edges]."""
        return np.concatenate([np.full(len(o.indices), o.indices.shape[1]) for o in self.operands.values()])

    def by_group(self, edges: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What is told of each edge, group by group."""
        ends = np.cumsum([len(operand.indices) for operand in self.operands.values()])
        return dict(zip(self.operands, np.split(edges, ends[:-1]), strict=True))


@dataclass(frozen=True, slots=True)
class Order:
    """The readers of a model, and their edges, numbered reader by reader, from the first that goes to the last."""

    readers: Sequence[Reader]
    edges: IntArray

    def kept(self, gone: int) -> dict[str, dict[str, list[int]]]:
        """The units that readers keep when so many edges are gone: what an edge plan says."""
        sizes = [reader.inputs.size for reader in self.readers]
        kept = np.ones(sum(sizes), dtype=bool)
        kept[self.edges[:gone]] = False
        each = np.split(kept, np.cumsum(sizes)[:-1])
        return {
            reader.name: {name: np.flatnonzero(part).tolist() for name, part in reader.by_group(mine).items()}
            for reader, mine in zip(self.readers, each, strict=True) if not mine.all()
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, None where there is none."""

    params: float | None = None
    macs: float | None = None

    def shares(self, cost: Any) -> dict[str, float]:
        """What a cost, params and MACs, takes of each bound."""
        given = {"params": self.params, "macs": self.macs}
        return {name: float(getattr(cost, name)) / bound for name, bound in given.items() if bound is not None}

    def met(self, cost: Any) -> bool:
        """Whether a cost is within all bounds."""
        return max(self.shares(cost).values(), default=0.0) <= 1


def cut_edges(
    model: ir.Model, evidence: Gathered | None, importance: str, sizes: Mapping[str, int], floors: Mapping[str, int], *,
    max_params: float | None = None, max_macs: float | None = None, keep: Sequence[str] = (), heads: bool = True,
    round_to: int | None = None, min_width: int = 1, seed: int = 0,
) -> Rewrite:  # fmt: skip
    """The model whose layers read less, lowered, within bounds of its params and MACs.

    floors: the least inputs of each reader, by its name; others, and all, read `min_width` at least. keep, heads: as
    for `chanc.rewrite`, groups that all read whole. round_to: what is read are multiples of it, of 8 by default.

    Raises: PlanError for bounds that can't be met; VerifyError where it computes something else than the original with
    those columns zeroed.
    """
    analysis = analyze(model, dims=sizes, fold=False)
    limits = Limits(max_params, max_macs)
    readers = list(_readers(analysis, Apart(keep, {}, heads).shares(analysis)))
    if not readers:
        raise PlanError("no layer of this model can drop channels that it reads")
    seen = Evidence(model, np.random.default_rng(seed), evidence)
    least = {reader.name: max(floors.get(reader.name, 1), min_width) for reader in readers}
    order = _ordered(analysis, readers, seen, importance, limits, least)

    def lower(edges: Wishes) -> tuple[Rewrite, Analysis]:
        done = rewrite(model, {"format": 2, "edges": edges}, keep=keep, heads=heads, round_to=round_to or DEVICE_GRAIN,
                       seed=seed, dims=sizes, fold=False)  # fmt: skip
        return done, analyze(done.model, dims=sizes, fold=False)

    if limits.met(analysis):
        return lower({})[0]
    done = _within(order, lower, limits)
    whole, cost = lower(_computed(analysis, done))
    return verified(model, whole if limits.met(cost) else done, sizes)


def floors_of(analysis: Analysis) -> dict[str, int]:
    """The least inputs of each reader of a model that is to be pruned: the share that groups keep of their channels."""
    found: dict[str, int] = defaultdict(int)
    for name, operands in consumers(analysis).items():
        found[name] += sum(operand.indices.size for operand in operands.values())
    return {name: math.ceil(LEAST_SHARE * count) for name, count in found.items()}


def inputs_read(before: ir.Model, after: ir.Model, sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """The inputs of each weight that takes channels, before and after; 0 where it is gone."""
    old, new = (_inputs(analyze(model, dims=sizes, fold=False)) for model in (before, after))
    return {name: (count, new.get(name, 0)) for name, count in old.items()}


def _inputs(analysis: Analysis) -> dict[str, int]:
    initializers = analysis.model.graph.initializers
    operands = [next(iter(of.values())) for of in consumers(analysis).values()]
    return {o.initializer: constant_shape(initializers[o.initializer])[o.axis] for o in operands}


def _readers(analysis: Analysis, staying: Mapping[str, object]) -> Iterator[Reader]:
    """The layers that may drop inputs, each a weight of its own, without the groups that are to stay."""
    groups = {group.id for group in analysis.groups if group.resizable and group.id not in staying}
    every = consumers(analysis)
    uses = Counter(next(iter(operands.values())).initializer for operands in every.values())
    for name, operands in every.items():
        mine = {group: operand for group, operand in operands.items() if group in groups}
        if mine and all(uses[operand.initializer] == 1 for operand in mine.values()):
            yield Reader(name, mine)


def _ordered(
    analysis: Analysis, readers: Sequence[Reader], seen: Evidence, importance: str, limits: Limits,
    least: Mapping[str, int],
) -> Order:  # fmt: skip
    """All edges that may go, those first that are worth least for what they cost."""
    measure, prices = measure_of(importance), _Prices(analysis, readers, limits)
    compare = importance in IN_LOSS and all(
        operand_place(o) in seen.seen.axes for reader in readers for o in reader.operands.values()
    )
    ratios = []
    for reader in readers:
        scores, costs = _scores(analysis, reader, measure, seen), prices.of(reader)
        if not compare:  # as much as they cost is what they are worth beside those of other readers
            scores = even(scores) * float(costs.mean())
        ratios.append(_ratios(scores, costs, reader.inputs, least[reader.name]))
    every = np.concatenate(ratios)
    edges = np.argsort(every, kind="stable")
    return Order(readers, edges[: int(np.isfinite(every).sum())])


def operand_place(operand: Operand) -> tuple[str, int, int]:
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
    moments = gathered.axes.get(operand_place(operand)) if gathered is not None else None
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

    def _share(self, cost: Any) -> float:
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


def _within(order: Order, lower: Lower, limits: Limits) -> Rewrite:
    """The model with the fewest edges gone, as far as halving finds them, that is within its bounds.

    Raises: PlanError where none is.
    """
    low, high = 0, order.edges.size
    best, cost = lower(order.kept(high))
    if not limits.met(cost):
        raise PlanError(_missed(limits, cost))
    for _ in range(HALVINGS):
        middle = (low + high) // 2
        if middle == low or max(limits.shares(cost).values()) > 1 - CLOSE:
            break
        found, now = lower(order.kept(middle))
        if limits.met(now):
            best, cost, high = found, now, middle
        else:
            low = middle
    return best


def _missed(limits: Limits, cost: Any) -> str:
    shares = limits.shares(cost)
    name = max(shares, key=lambda name: shares[name])
    unit, bound = name.replace("macs", "MACs"), getattr(limits, name)
    return (f"the budget of {bound:,.0f} {unit} can't be met by edges: the least that can be had is "
            f"{getattr(cost, name):,} {unit}, with no layer under {LEAST_SHARE:.0%} of its inputs; what is kept, a "
            "least width and coarse rounding (--round-to) raise it")  # fmt: skip


def _computed(analysis: Analysis, done: Rewrite) -> Wishes:
    """The edge plan of a lowered model that reads all columns which it has: those that were zero cost what they did."""
    there = {(operand.node, operand.input): operand.axes for operand in done.trace.operands}
    cut = {name: there.get((edge.node, edge.input), {}).get(edge.axis) for name, edge in done.trace.edges.items()}
    readers = consumers(analysis)
    return {
        name: {group: np.flatnonzero(np.isin(operand.indices, columns).all(axis=1)).tolist()
               for group, operand in readers[name].items()}
        for name, columns in cut.items() if columns is not None
    }  # fmt: skip
