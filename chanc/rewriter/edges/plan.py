"""What an edge plan says: which columns each consumer keeps of its weight."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis import Analysis
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.groups import Operand
from chanc.errors import PlanError
from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import called, nodes_of

Mask = NDArray[np.bool_]
Place = tuple[ir.Node, int]
"""A node, and one of its inputs."""
Wishes = Mapping[str, Any]
"""Kept units by the name of an edge: a list, or a list for each group where a weight takes channels of several."""


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
    """A consumer that doesn't keep all columns: its node, the input and axis of its weight, and the mask: [size]."""

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
