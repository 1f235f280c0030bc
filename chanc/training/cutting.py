"""Which edges go in one step: the least salient of all consumers together, down to a number or a share of the params.

A consumer may lose all its edges: what it makes is a constant then, and where that is all that makes a group, the edges
of that group go with it at the end. But every other weight reads something that is alive, and so do the outputs: an
edge without which one of them would not stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis
from chanc.ir.nodes import called, nodes_of
from chanc.training.columns import Scores
from chanc.training.consumers import Edges, Kept
from chanc.training.units import Indices


@dataclass(frozen=True)
class Goal:
    """Where a search ends: with `share` of the parameters at most; a step takes the part `gamma` of what is there.

    After k steps floor(inputs (1 - gamma)^k) inputs are left; the last edge of all to go is the first with which the
    share is met.
    """

    share: float
    gamma: float = 0.1

    def left(self, inputs: int, step: int) -> int:
        """The inputs after a step, counted from 1, that doesn't reach the share."""
        return int(inputs * (1 - self.gamma) ** step)

    def met(self, cost: int, params: int) -> bool:
        """Whether a network that had `params` may end at that cost."""
        return cost <= self.share * params


class Cutter:
    """Chooses the edges of a model that go."""

    def __init__(self, analysis: Analysis, edges: Edges, goal: Goal) -> None:
        self.edges, self.goal, self._layer = edges, goal, edges.layer
        self._nodes, self._outputs = list(nodes_of(analysis.model.graph)), set(analysis.model.graph.outputs)
        self._numbers = {one.name.rpartition(":")[0]: number for number, one in enumerate(edges.consumers)}
        operands = [(group.id, operand) for group in analysis.groups for operand in group.operands]
        self._readers = {operand.node for _, operand in operands if operand.role == "consumer"}
        self._makers: dict[str, set[str]] = {}
        for name, operand in operands:
            if operand.role == "producer":
                self._makers.setdefault(name, set()).add(operand.node)

    def cut(self, kept: Kept, scores: Scores, step: int) -> Kept:
        """What is kept after the step-th step (from 1) of those that are there; the least scores go."""
        kept, inputs = kept.copy(), self.edges.inputs
        left, there = self.goal.left(int(inputs.sum()), step), int(inputs[kept].sum())
        cost, count = self.edges.cost(kept), self._count(kept)
        for edge in _in_order(kept, scores):
            if there <= left or self.goal.met(cost, self.edges.params):
                break
            consumer = self._layer[edge]
            count[consumer] -= 1
            if count[consumer] == 0 and self._dead(count) is None:
                count[consumer] = 1
                continue
            kept[edge] = False
            there, cost = there - int(inputs[edge]), cost - int(self.edges.costs[edge])
        return self._without_orphans(kept) if self.goal.met(cost, self.edges.params) else kept

    def _count(self, kept: Kept) -> Indices:
        """The edges that each consumer has."""
        return np.bincount(self._layer[kept], minlength=len(self.edges.consumers))

    def _dead(self, count: Indices) -> set[str] | None:
        """The nodes that make constants, where consumers have so many edges; None where a weight reads only such."""
        dead: set[ir.Value] = set()
        names: set[str] = set()
        for node in self._nodes:
            number = self._numbers.get(called(node))
            lost = number is not None and count[number] == 0 and self.edges.consumers[number].whole
            data = [value for value in node.inputs if value is not None and not value.is_initializer()]
            starved = bool(data) and all(value in dead for value in data)
            if starved and number is None and called(node) in self._readers:
                return None
            if lost or starved:
                names.add(called(node))
                dead.update(node.outputs)
        return names if dead.isdisjoint(self._outputs) else None

    def _without_orphans(self, kept: Kept) -> Kept:
        """Without the edges of groups that only constants are left of."""
        dead = self._dead(self._count(kept))
        for one in self.edges.consumers if dead else ():
            for group, span in one.spans.items():
                if dead and self._makers.get(group, set()) <= dead:
                    kept[span] = False
        return kept


def _in_order(kept: Kept, scores: Scores) -> Iterator[int]:
    there = np.flatnonzero(kept)
    return map(int, there[np.argsort(scores[there], kind="stable")])
