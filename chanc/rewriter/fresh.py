"""Which tensors of a model are trained, and what fresh ones hold: what a transfer that draws weights asks.

Most weights are told by their operator's spec. An operand of arithmetic may be one where it meets channels that layers
make: the bias of a MatMul, the scale of a norm that its exporter took apart, an embedding of positions that is added.
Masks, the mean of the images and what decodes the outputs (grids, strides) keep their values: no layer makes the
channels that they meet, or these channels must stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.initializers import ParameterAxis
from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import nodes_of
from chanc.ops import Reader, Trait, Weight, fan_in, has, reader, spec_of, weight_of
from chanc.rewriter.transfer._common import KEPT, Use


class Fresh:
    """What is asked of an analysed model: which of its channels layers make, and which of those may change."""

    def __init__(self, analysis: Analysis) -> None:
        self._unit = analysis.units.unit
        self._made = np.zeros(analysis.findings.label_count, dtype=bool)
        for parameter in analysis.findings.parameters:
            if parameter.role == "producer":
                self._made[self._unit[parameter.labels]] = True
        self._free = self._made.copy()
        self._free[list(analysis.units.pinned)] = False
        self._limited = np.zeros(analysis.findings.label_count, dtype=bool)
        for value in _limited(analysis.findings.graph):
            for field in analysis.findings.fields_of(value):
                self._limited[self._unit[field.labels]] = True

    def defined(self, units: IntArray) -> bool:
        """Whether units give finite numbers whatever their weights are: they pass no root, are no divisor."""
        return not self._limited[units].any()

    def use(self, value: ir.Value, node: ir.Node, index: int, axes: Sequence[ParameterAxis] = ()) -> Use:
        """How the node uses an initializer: `axes` are those of its axes that have labels."""
        shape = constant_shape(value)
        vector = len(shape) - shape.count(1) <= 1
        # A vector that is cut up is one still: biases of queries, keys and values. A matrix may be a table to look up.
        passed = (Trait.RECAST, Trait.VIEW, Trait.CUTTER) if vector else (Trait.RECAST, Trait.VIEW)
        read = reader(node, index, len(shape), *passed)
        weight = weight_of(read.node, read.input)
        maker = next((parameter.axis for parameter in axes if parameter.role == "producer"), None)
        if weight is not None and not weight.arithmetic:
            return Use(weight.init, _fan_in(weight, read, maker))
        if value.dtype is None or not value.dtype.is_floating_point():
            return KEPT
        return self._vector(weight, read, shape, axes) if vector else self._matrix(weight, read, maker, axes)

    def _matrix(self, weight: Weight | None, read: Reader, maker: int | None, axes: Sequence[ParameterAxis]) -> Use:
        """A table of vectors, to look up or to add, or a weight from which others are computed."""
        if maker is not None:
            looked_up = weight is not None and weight.makes({}, 2) != ()
            return Use("normal") if looked_up else Use("he", _over(maker))
        added = weight is not None and has(read.node, Trait.ADDITIVE)
        return Use("normal") if added and axes and all(self._all(self._free, p.labels) for p in axes) else KEPT

    def _vector(
        self, weight: Weight | None, read: Reader, shape: tuple[int, ...], axes: Sequence[ParameterAxis]
    ) -> Use:
        """One value a channel."""
        if weight is None:
            return KEPT
        longer = [parameter for parameter in axes if shape[parameter.axis] > 1]
        bias = has(read.node, Trait.ADDITIVE) and _follows_product(read)
        if bias and (shape == (1,) or (longer and self._all(self._made, longer[0].labels))):
            return Use(weight.init)
        return Use(weight.init) if longer and self._all(self._free, longer[0].labels) else KEPT

    def _all(self, marked: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], labels: IntArray) -> bool:
        return bool(marked[self._unit[labels]].all())


def _limited(graph: ir.Graph) -> Iterator[ir.Value]:
    """The tensors of which an operator takes some numbers only."""
    for node in nodes_of(graph):
        spec = spec_of(node)
        if spec is None:
            continue
        places = range(len(node.inputs)) if Trait.PARTIAL in spec.traits else spec.divisors
        yield from (value for k in places if k < len(node.inputs) and (value := node.inputs[k]) is not None)


def _fan_in(weight: Weight, read: Reader, maker: int | None) -> Callable[[tuple[int, ...]], int]:
    """The fan-in of a weight from its shape as it is stored; behind a Reshape, all but what makes channels."""
    order = read.order
    if order is None or not weight.takes(read.node.attributes, len(order)):
        return _over(maker or 0)
    return lambda shape: fan_in(weight, read.node.attributes, [shape[axis] for axis in order])


def _over(axis: int) -> Callable[[tuple[int, ...]], int]:
    """All axes but one."""
    return lambda shape: int(np.prod(shape)) // max(shape[axis] if shape else 1, 1)


def _follows_product(read: Reader) -> bool:
    """Whether the other operand of an addition is what a convolution or a matrix product makes."""
    others = [value for k, value in enumerate(read.node.inputs) if k != read.input and value is not None]
    return len(others) == 1 and has(others[0].producer(), Trait.CONVOLUTION, Trait.LINEAR)
