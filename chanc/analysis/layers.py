"""The layers of a model: every node with parameters, and every convolution and product, with its shape and its cost."""

from __future__ import annotations

from dataclasses import dataclass

from chanc.analysis.analyze import Analysis
from chanc.cost.sizes import Unknown
from chanc.ir.nodes import called, nodes_of


@dataclass(frozen=True)
class Layer:
    """A node by its name (its first output where it has none), the shape that it makes, and what it costs a sample.

    shape: None where it isn't known; an open batch counts as 1. counted: whether its work could be counted.
    """

    op: str
    name: str
    output: str
    shape: tuple[int, ...] | None
    params: int
    macs: int
    counted: bool


def layers(analysis: Analysis) -> tuple[Layer, ...]:
    """The layers in the order of the graph, those in bodies of control flow behind the node that has them."""
    costs, sizes, found = analysis.node_costs(), analysis.sizes(), []
    for node in nodes_of(analysis.model.graph):
        cost = costs.get(called(node))
        if cost is None or not (cost.params or cost.macs or not cost.known):
            continue
        try:
            shape = tuple(int(size) for size in sizes.output(node, 0))
        except Unknown:
            shape = None
        counts = (int(cost.params), int(cost.macs))
        found.append(Layer(node.op_type, node.name or called(node), called(node), shape, *counts, cost.known))
    return tuple(found)
