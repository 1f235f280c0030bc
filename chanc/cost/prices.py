"""What any widths of a model would cost, without rewriting it: budgets and targets ask this hundreds of times.

Each weight axis has old_length + sum over its groups of (new units - old units) * positions of a unit, so that
parameters and MACs follow from the analysis alone. The log of a run has the figures of the real, rewritten models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chanc.analysis.infer_shapes import infer_shapes
from chanc.ir.nodes import called, nodes_of

_STATISTICS = (3, 4)
"""The inputs of BatchNormalization that are buffers: running mean and variance."""


@dataclass(frozen=True)
class WidthPrice:
    """Parameters, and MACs of convolutions and linear layers for one input."""

    params: int
    macs: int


@dataclass(frozen=True)
class Share:
    """How an axis follows a group: `positions` more of its elements a unit of `step` channels, from `size` channels."""

    group: str
    axis: int
    positions: int
    step: int
    size: int


@dataclass(frozen=True)
class Weight:
    """One parameter tensor that follows groups. macs_each: MACs an element, summed over the nodes that use it."""

    shape: tuple[int, ...]
    shares: tuple[Share, ...]
    macs_each: int

    def elements(self, widths: Mapping[str, int]) -> int:
        """Number of elements at the given widths."""
        lengths = list(self.shape)
        for share in self.shares:
            change = widths.get(share.group, share.size) - share.size
            lengths[share.axis] += change // share.step * share.positions
        return math.prod(lengths)


@dataclass(frozen=True)
class Prices:
    """The cost of a model as a function of its widths."""

    params: int
    macs: int
    weights: tuple[Weight, ...]

    def __call__(self, widths: Mapping[str, int]) -> WidthPrice:
        """The cost at the given widths (channels by group id); groups that are not named keep theirs."""
        params, macs = self.params, self.macs
        for weight in self.weights:
            change = weight.elements(widths) - math.prod(weight.shape)
            params, macs = params + change, macs + change * weight.macs_each
        return WidthPrice(params, macs)


def prices(analysis: Any) -> Prices:
    """The cost function of an analysed model, whose values get their shapes."""
    infer_shapes(analysis.model)
    graph = analysis.model.graph
    nodes = {called(node): node for node in nodes_of(graph)}
    shapes = {name: tuple(int(n) for n in value.shape) for name, value in graph.initializers.items()}
    shares: dict[str, dict[tuple[str, int], Share]] = {}
    uses: dict[str, set[tuple[str, int]]] = {}
    for group in analysis.groups:
        for operand in group.operands:
            if operand.initializer not in shapes or _is_statistic(operand):
                continue
            uses.setdefault(operand.initializer, set()).add((operand.node, operand.input))
            share = Share(group.id, operand.axis, operand.indices.shape[1], group.step, group.size)
            shares.setdefault(operand.initializer, {})[(group.id, operand.axis)] = share
    weights = tuple(
        Weight(shapes[name], tuple(of.values()), sum(macs_of_element(nodes[node], index) for node, index in uses[name]))
        for name, of in shares.items()
    )
    return Prices(analysis.params, analysis.macs, weights)


def macs_of_element(node: Any, index: int) -> int:
    """MACs of one element of the node's input `index` for one sample: the positions at which a weight is applied."""
    if index > 1 or (index == 0 and node.op_type not in ("Gemm", "MatMul")):
        return 0
    if node.op_type == "Conv":
        return _spatial(node.outputs[0])
    if node.op_type == "ConvTranspose":
        return _spatial(node.inputs[0])
    if node.op_type == "Gemm":
        return 1
    if node.op_type == "MatMul":
        shape = node.outputs[0].shape
        return math.prod(_known(n) for n in list(shape)[1:-1]) if shape is not None else 1
    return 0


def _is_statistic(operand: Any) -> bool:
    return operand.op == "BatchNormalization" and operand.input in _STATISTICS


def _spatial(value: Any) -> int:
    return math.prod(_known(n) for n in list(value.shape)[2:]) if value.shape is not None else 1


def _known(length: Any) -> int:
    """A static length; 1 where it is dynamic, so that one input position is what is counted."""
    return length if isinstance(length, int) else 1
