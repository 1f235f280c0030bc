"""Where the Transposes of a graph end up when they are pushed forward, without touching the graph yet.

A plan walks the nodes in order and notes for each transposed value what it is a Transpose of (its view). Nodes with a
rule read views as they are, and hand them on; where another node reads such a value, a Transpose is needed. A seed is a
value that gets a Transpose of its own, so that it goes with the views that it meets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from chanc.transforms._edit import Array, is_op
from chanc.transforms._layout_rules import (
    Move,
    Perm,
    Reading,
    fixed,
    identity,
    inverse,
    joins,
    keeps_order,
    ones,
    rule_of,
)

_CANDIDATES = 48


@dataclass(frozen=True)
class View:
    """A value as Transpose(source, perm)."""

    source: ir.Value
    perm: Perm


@dataclass(frozen=True)
class Seed:
    """A value that is to be a view: its source is Transpose(value, inverse(view.perm)), or a Reshape where `free`."""

    view: View
    free: bool


Seeds = Mapping[ir.Value, Seed]


@dataclass
class Plan:
    """What would become of each node; `cost` is the number of Transposes."""

    graph: ir.Graph
    version: int
    seeds: Seeds
    barred: frozenset[ir.Node]
    reorder: bool = True
    """Whether the numbers of a constant may come in another order."""
    views: dict[ir.Value, View] = field(default_factory=dict)
    moves: dict[ir.Node, Move] = field(default_factory=dict)
    needed: dict[ir.Value, None] = field(default_factory=dict)
    wishes: dict[tuple[ir.Value, Perm], None] = field(default_factory=dict)
    kept: dict[View, ir.Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.views.update((value, seed.view) for value, seed in self.seeds.items())
        for node in self.graph:
            if (perm := transposed(node)) is not None:
                value = node.inputs[0]
                assert value is not None
                self._transpose(node, value, perm)
            elif not self._moved(node):
                self._read(node)
        for value in self.views:
            if value.is_graph_output() or any(use.node.graph is not self.graph for use in value.uses()):
                self._need(value)

    def _transpose(self, node: ir.Node, value: ir.Value, perm: Perm) -> None:
        base = self.views.get(value, View(value, identity(len(perm))))
        view = View(base.source, tuple(base.perm[axis] for axis in perm))
        if node in self.barred and value not in self.seeds:
            self.kept.setdefault(view, node.outputs[0])
            self._read(node)
            return
        kept = self.kept.get(view)
        self.views[node.outputs[0]] = View(kept, identity(len(perm))) if kept is not None else view

    @property
    def cost(self) -> int:
        """The number of Transposes that this plan leaves, those in front of graph outputs each for itself."""
        count = sum(not seed.free for seed in self.seeds.values()) + len(self.kept)
        made: set[tuple[ir.Value, Perm, ir.Value | None]] = set()
        for value in self.needed:
            view = self.views[value]
            if view.perm != identity(len(view.perm)):
                made.add((view.source, view.perm, value if value.is_graph_output() else None))
        return count + len(made - {(seed.view.source, seed.view.perm, None) for seed in self.seeds.values()})

    def _need(self, value: ir.Value) -> None:
        if value not in self.seeds:
            self.needed[value] = None

    def _read(self, node: ir.Node) -> None:
        for value in node.inputs:
            if value is not None and value in self.views:
                self._need(value)

    def _moved(self, node: ir.Node) -> bool:
        reading = self._reading(node)
        if reading is None or node in self.barred or self._blocked(reading):
            return False
        if any(use.node.graph is not self.graph for output in node.outputs for use in output.uses()):
            return False
        rule = rule_of(node)
        move = rule(reading) if rule is not None else None
        if move is None or (not self.reorder and any(reordered(array) for array in move.constants.values())):
            return False
        self.moves[node] = move
        if move.perm != identity(len(move.perm)):
            self.views.update((output, View(output, move.perm)) for output in node.outputs)
        return True

    def _reading(self, node: ir.Node) -> Reading | None:
        """The node as a reader of views, where it has a rule, and all views that it reads have the same layout."""
        if rule_of(node) is None:
            return None
        views = [self.views.get(value) if value is not None else None for value in node.inputs]
        perms = {view.perm for view in views if view is not None and view.perm != identity(len(view.perm))}
        if len(perms) != 1:
            return None
        perm = perms.pop()
        sources = [view.source if view is not None and view.perm == perm else None for view in views]
        return Reading(node, perm, tuple(sources), self.version)

    def _blocked(self, reading: Reading) -> bool:
        """Whether an input that is neither a view nor constant is in the way; where a seed would help, wish for it."""
        if not joins(reading.node):
            return reading.sources[0] is None or any(source is not None for source in reading.sources[1:])
        blocked = False
        for value, source in zip(reading.node.inputs, reading.sources, strict=True):
            if value is None or source is not None or fixed(value) is not None:
                continue
            rank = len(value.shape) if value.shape is not None else 0
            if reading.node.op_type != "Concat" and ones(value) and rank <= len(reading.perm):
                continue
            blocked = True
            view = self.views.get(value, View(value, identity(rank)))
            # What is a view of another layout is left to its own Transpose.
            if rank == len(reading.perm) == len(view.perm) and view.perm == identity(rank):
                self.wishes[view.source, reading.perm] = None
        return blocked


def reordered(array: Array) -> bool:
    """Whether a moved constant holds weights in another order: one with a single long axis can't."""
    return array.dtype.kind not in "iub" and sum(size != 1 for size in array.shape) > 1


def transposed(node: ir.Node) -> Perm | None:
    """The permutation of a Transpose whose rank is known."""
    value = node.inputs[0] if is_op(node, "Transpose") else None
    if value is None:
        return None
    if "perm" in node.attributes:
        return tuple(int(axis) for axis in node.attributes["perm"].as_ints())
    return tuple(range(len(value.shape)))[::-1] if value.shape is not None else None


def best(graph: ir.Graph, version: int, *, reorder: bool = True) -> Plan:
    """The plan with the fewest Transposes that is found by adding seeds and barring nodes one after the other."""
    plan = _cut(_start(graph, version, reorder))
    for _ in range(4):
        before = plan.cost, len(plan.seeds)
        for value, perm in list(plan.wishes)[:_CANDIDATES]:
            plan = _better(plan, {value: perm})
        plan = _better(plan, dict(list(plan.wishes)))
        for roots, inputs in _hoists(plan)[:_CANDIDATES]:
            plan = _better(plan, roots, ties=inputs)
        plan = _cut(plan)
        if (plan.cost, len(plan.seeds)) == before:
            break
    return plan


def _start(graph: ir.Graph, version: int, reorder: bool) -> Plan:
    """The plan that leaves a Transpose of a graph input where it is, unless it is of use elsewhere."""
    first: dict[tuple[ir.Value | None, Perm | None], ir.Node] = {}
    for node in graph:
        if transposed(node) is not None and node.inputs[0] in graph.inputs:
            first.setdefault((node.inputs[0], transposed(node)), node)
    plan = Plan(graph, version, {}, frozenset(first.values()), reorder)
    for trial in [frozenset[ir.Node](), *(plan.barred - {node} for node in first.values())]:
        other = Plan(graph, version, {}, trial, reorder)
        plan = other if other.cost < plan.cost else plan
    return plan


def _better(plan: Plan, wanted: Mapping[ir.Value, Perm], *, ties: bool = False) -> Plan:
    """The plan with these values as seeds, too, or the plan itself where that has no more Transposes."""
    new = {value: perm for value, perm in wanted.items() if value not in plan.views}
    if not new:
        return plan
    seeds = dict(plan.seeds)
    for value, perm in new.items():
        shape = value.shape
        free = keeps_order(shape, inverse(perm)) and sum(not isinstance(n, int) for n in shape or ()) <= 1
        seeds[value] = Seed(View(ir.Value(type=value.type), perm), free)
        seeds[value].view.source.shape = permuted(shape, inverse(perm))
    trial = Plan(plan.graph, plan.version, seeds, plan.barred, plan.reorder)
    return trial if trial.cost < plan.cost or (ties and trial.cost == plan.cost) else plan


def permuted(shape: ir.Shape | None, perm: Perm) -> ir.Shape | None:
    """The shape of a Transpose."""
    return ir.Shape([shape[axis] for axis in perm]) if shape is not None and len(shape) == len(perm) else None


def _hoists(plan: Plan) -> list[tuple[dict[ir.Value, Perm], bool]]:
    """For each Transpose that stays: the values from which its data is computed axis by axis, as possible seeds.

    With each goes whether they are inputs of the graph with nodes in between, where moving them costs nothing.
    """
    found = []
    for value in plan.needed:
        view = plan.views[value]
        if view.perm == identity(len(view.perm)) or value.is_graph_output():
            continue
        roots = _roots(view.source, len(view.perm))
        inputs = all(root.is_graph_input() for root in roots) and view.source not in roots
        found.append((dict.fromkeys(roots, inverse(view.perm)), inputs))
    return found


def _roots(value: ir.Value, rank: int) -> list[ir.Value]:
    roots: dict[ir.Value, None] = {}
    pending, seen = [value], set()
    while pending:
        value = pending.pop()
        if value in seen or value.shape is None or len(value.shape) != rank or fixed(value) is not None:
            continue
        seen.add(value)
        node = value.producer()
        if node is None or rule_of(node) is None or is_op(node, "Reshape", "Flatten", "Squeeze"):
            roots[value] = None
        else:
            pending.extend(entry for entry in node.inputs if entry is not None)
    return list(roots)


def _cut(plan: Plan) -> Plan:
    """The plan with nodes left as they are as long as that saves Transposes: the best choice each time."""
    for _ in range(_CANDIDATES):
        choices = [*_forks(plan), *_regions(plan)][:_CANDIDATES]
        trials = [Plan(plan.graph, plan.version, plan.seeds, plan.barred | nodes, plan.reorder) for nodes in choices]
        found = min(trials, key=lambda trial: trial.cost, default=plan)
        if found.cost >= plan.cost:
            break
        plan = found
    return plan


def _regions(plan: Plan) -> list[frozenset[ir.Node]]:
    """The moved nodes in connected parts, those parts first that need most Transposes."""
    regions: list[tuple[int, frozenset[ir.Node]]] = []
    seen: set[ir.Node] = set()
    for start in plan.moves:
        if start in seen:
            continue
        region, pending = set(), [start]
        while pending:
            node = pending.pop()
            if node in region or node not in plan.moves:
                continue
            region.add(node)
            pending.extend(user for output in node.outputs for user in output.consumers())
            pending.extend(maker for value in node.inputs if value is not None and (maker := value.producer()))
        seen |= region
        ends = sum(output in plan.needed for node in region for output in node.outputs)
        regions.append((ends, frozenset(region)))
    return [region for ends, region in sorted(regions, key=lambda pair: -pair[0]) if ends > 1]


def _forks(plan: Plan) -> list[frozenset[ir.Node]]:
    """Where views may better end: nodes whose output needs a Transpose or that make several, and readers of a view."""
    ends = [
        frozenset([node]) for node in plan.moves
        if len(node.outputs) > 1 or any(output in plan.needed for output in node.outputs)
    ]  # fmt: skip
    readers: dict[View, set[ir.Node]] = {}
    for node in plan.moves:
        for value in node.inputs:
            if value is not None and value in plan.views:
                readers.setdefault(plan.views[value], set()).add(node)
    return [*(frozenset(nodes) for nodes in readers.values() if len(nodes) > 1), *ends]
