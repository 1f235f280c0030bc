"""Edges in place of channels: each layer drops inputs of its own (`chanc.rewriter.edges`) until the model is cheap.

In which order they go, `edge_order` says. How many is found by halving: only the lowered graph tells what is saved,
since zeros that aren't worth a cut are computed. What is computed all the same is read again at the end.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis, analyze
from chanc.analysis.disjoint_set import IntArray
from chanc.errors import PlanError
from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import called, nodes_of
from chanc.pruning.budgets import Budgets
from chanc.pruning.cut import verified
from chanc.pruning.edge_order import Limits, Order, ordered, readers_of
from chanc.rewriter import Rewrite, rewrite
from chanc.rewriter.allocate import CLOSE, LEAST_SHARE
from chanc.rewriter.edges import Wishes, consumers
from chanc.rewriter.importance import Evidence, Gathered
from chanc.rewriter.plan import DEVICE_GRAIN, Apart

Lower = Callable[[Wishes], tuple[Rewrite, Analysis]]
HALVINGS = 9
"""So many models are lowered on the way to a budget: 0.2 % of all edges are between the last two."""
GIVERS = 8
"""So many readers are asked to read more where a budget isn't used up."""


def refuse(budgets: Budgets, ratios: Mapping[str, float] | None) -> None:
    """Raise PlanError for what says nothing of edges."""
    if budgets.latency is not None:
        raise PlanError("edges are cut under --max-params and --max-macs; a latency is met by channels")
    if ratios:
        raise PlanError("a --ratio is the share of a group's width; how wide groups are follows from the edges")


def cut_edges(
    model: ir.Model, evidence: Gathered | None, importance: str, sizes: Mapping[str, int], *,
    floors: Mapping[str, int] | None = None, max_params: float | None = None, max_macs: float | None = None,
    keep: Sequence[str] = (), heads: bool = True, round_to: int | None = None, min_width: int = 1, seed: int = 0,
) -> Rewrite:  # fmt: skip
    """The model whose layers read less, lowered, within bounds of its params and MACs.

    floors: the least inputs of each reader, by its name: those of the model's own `floors_of` by default; none reads
    less than `min_width`. keep, heads: as for `chanc.rewrite`, of groups that all read whole. round_to: inputs are
    multiples of it, by default of 8.

    Raises: PlanError for bounds that can't be met; VerifyError where it computes something else than the original with
    those columns zeroed.
    """
    analysis = analyze(model, dims=sizes, fold=False)
    limits = Limits(max_params, max_macs)
    readers = list(readers_of(analysis, Apart(keep, {}, heads).shares(analysis)))
    if not readers:
        raise PlanError("no layer of this model can drop channels that it reads")
    seen = Evidence(model, np.random.default_rng(seed), evidence)
    floors = floors_of(analysis) if floors is None else floors
    least = {reader.name: max(floors.get(reader.name, 1), min_width) for reader in readers}
    grain = round_to or DEVICE_GRAIN
    order = Order(readers, ordered(analysis, readers, seen, importance, limits, least), grain)

    def lower(edges: Wishes) -> tuple[Rewrite, Analysis]:
        done = rewrite(model, {"format": 2, "edges": edges}, keep=keep, heads=heads, round_to=grain, seed=seed,
                       dims=sizes, fold=False)  # fmt: skip
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
    """The inputs of each weight, in the order of the graph."""
    graph, order = analysis.model.graph, {called(node): k for k, node in enumerate(nodes_of(analysis.model.graph))}
    operands = sorted((next(iter(of.values())) for of in consumers(analysis).values()), key=lambda o: order[o.node])
    return {o.initializer: constant_shape(graph.initializers[o.initializer])[o.axis] for o in operands}


def _within(order: Order, lower: Lower, limits: Limits) -> Rewrite:
    """The model with the fewest edges gone, as far as halving finds them, that is within its bounds.

    Raises: PlanError where none is.
    """
    low, high = 0, order.edges.size
    best, cost = lower(order.kept(order.edges))
    if not limits.met(cost):
        raise PlanError(_missed(limits, cost))
    for _ in range(HALVINGS):
        middle = (low + high) // 2
        if middle == low or _full(limits, cost):
            break
        found, now = lower(order.kept(order.edges[:middle]))
        if limits.met(now):
            best, cost, high = found, now, middle
        else:
            low = middle
    return best if _full(limits, cost) else _given_back(order, order.edges[:high], lower, limits, best)


def _full(limits: Limits, cost: Analysis) -> bool:
    return max(limits.shares(cost).values()) > 1 - CLOSE


def _given_back(order: Order, gone: IntArray, lower: Lower, limits: Limits, best: Rewrite) -> Rewrite:
    """The model with some edges back, where the last to go took much at once: the last ones of some readers."""
    owners = order.owners(gone)[::-1]
    readers = owners[np.sort(np.unique(owners, return_index=True)[1])]
    for reader in readers[:GIVERS]:
        fewer = order.given_back(gone, int(reader))
        found, cost = lower(order.kept(fewer))
        if limits.met(cost):
            best, gone = found, fewer
        if limits.met(cost) and _full(limits, cost):
            break
    return best


def _missed(limits: Limits, cost: Analysis) -> str:
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
