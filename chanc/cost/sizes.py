"""Sizes of a model's tensors, as a count asks for them, and the sizes that the model itself declares."""

from __future__ import annotations

from math import prod
from typing import Protocol

import onnx_ir as ir

from chanc.cost.batch import batch_axes
from chanc.ir.sizes import worked_out
from chanc.ops import Number, Trait, has
from chanc.ops.spec import Size as Numbers


class Unknown(Exception):
    """A dimension that a count needs is not known; the counter catches it and names the node."""


class Sizes(Protocol):
    """The sizes of all tensors of a model, in any number type; `batch` is the number of samples that they hold."""

    @property
    def batch(self) -> int:
        """Samples: 1 where the batch is dynamic."""

    def input(self, node: ir.Node, index: int) -> Numbers | None:
        """The size of a node's input, None where it is left out; raises `Unknown`."""

    def output(self, node: ir.Node, index: int) -> Numbers:
        """The size of a node's output; raises `Unknown`."""


class Declared:
    """Sizes from the shapes that the model's values have (`chanc.analysis.infer_shapes`).

    The batch is the first dimension of the graph's first input that is no initializer, or another one where that is
    read step first (`chanc.cost.batch`): a symbol counts as 1 wherever it stands, a number divides what is counted.
    Another unknown first dimension is taken for a batch too, where that is first in all inputs; but no input's name for
    another axis is.
    """

    def __init__(self, graph: ir.Graph) -> None:
        inputs = [value for value in graph.inputs if value.name not in graph.initializers and value.shape is not None]
        axes = batch_axes(graph)
        leading = [(value.shape or ())[axes.get(value, 0)] for value in inputs if len(value.shape or ()) > 1]
        batch = leading[0] if leading else 1
        self.batch = batch if isinstance(batch, int) and batch > 0 else 1
        self.symbols = {str(dim.value): 1 for dim in leading if isinstance(dim, ir.SymbolicDim) and dim.value}
        self._first = not any(axes.values())
        self._named = {dim.value for value in inputs for dim in value.shape or () if isinstance(dim, ir.SymbolicDim)}

    def input(self, node: ir.Node, index: int) -> tuple[int, ...] | None:
        """The size of a node's input, None where it is left out; raises `Unknown`."""
        value = node.inputs[index] if index < len(node.inputs) else None
        return None if value is None else self._size(value)

    def output(self, node: ir.Node, index: int) -> tuple[int, ...]:
        """The size of a node's output; raises `Unknown`."""
        return self._size(node.outputs[index])

    def length(self, value: ir.Value, axis: int) -> int:
        """The declared length of one axis; raises `Unknown` where one that is not the batch is not a number."""
        shape = _shape(value)
        if axis >= len(shape):
            raise Unknown
        dim = shape[axis]
        name = "" if isinstance(dim, int) else str(dim.value)
        found = dim if isinstance(dim, int) else self.symbols.get(name) or worked_out(name, self.symbols)
        # Some exporters (Paddle) write -1 or 0 for a dimension that they don't know.
        if isinstance(found, int) and found > 0:
            return found
        if axis == 0 and self._first and (isinstance(dim, int) or not dim.value or dim.value not in self._named):
            return 1
        raise Unknown

    def _size(self, value: ir.Value) -> tuple[int, ...]:
        return tuple(self.length(value, axis) for axis in range(len(_shape(value))))


def _shape(value: ir.Value) -> ir.Shape:
    if value.const_value is not None:
        return ir.Shape(value.const_value.shape.numpy())
    if value.shape is not None:
        return value.shape
    stored = source(value)
    if stored is None:
        raise Unknown
    return ir.Shape(stored[1].shape.numpy())


def source(value: ir.Value | None) -> tuple[str, ir.TensorProtocol] | None:
    """The stored tensor behind a value and its name, through operators that only move elements; None where computed.

    The name is that of the initializer or of the Constant node's output. Such operators appear between a weight and its
    user in exports from JAX and Keras, and as aliases of equal tensors.
    """
    while value is not None:
        if value.const_value is not None:
            return value.name or "", value.const_value
        node = value.producer()
        if node is None:
            return None
        if node.op_type == "Constant":
            attribute = node.attributes.get("value")
            if attribute is None or attribute.type != ir.AttributeType.TENSOR:
                return None
            return value.name or "", attribute.as_tensor()
        if not has(node, Trait.VIEW, Trait.RECAST):
            return None
        value = node.inputs[0] if node.inputs else None
    return None


def elements(size: Numbers) -> Number:
    """The number of elements of a tensor of that size."""
    return prod(size)
