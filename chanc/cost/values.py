"""Sizes of a model's values for one sample, and the stored tensors behind them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx_ir as ir


class Unknown(Exception):
    """A dimension that a count needs is not known; the counter catches it and names the node."""


@dataclass(frozen=True)
class Stored:
    """A tensor that the model holds, under the name of its initializer or of its Constant node's output."""

    name: str
    tensor: ir.TensorProtocol


class Sizes:
    """Dimensions of values with the batch taken as 1.

    The batch is the first dimension of the graph's first input that is no initializer: a symbol counts as 1 wherever it
    stands, a number divides what is counted. Another unknown first dimension is taken for a batch too.
    """

    def __init__(self, graph: ir.Graph) -> None:
        inputs = [value for value in graph.inputs if value.name not in graph.initializers and value.shape is not None]
        leading = [value.shape[0] for value in inputs if value.shape is not None and len(value.shape) > 1]
        batch = leading[0] if leading else 1
        self._batch = batch if isinstance(batch, int) and batch > 0 else 1
        self._symbols = {str(dim.value): 1 for dim in leading if isinstance(dim, ir.SymbolicDim) and dim.value}

    def per_sample(self, count: int) -> int:
        """A count for the whole batch, divided by a batch that is a number."""
        return count // self._batch if count % self._batch == 0 else count

    def rank(self, value: ir.Value | None) -> int:
        """Number of axes; raises `Unknown`."""
        return len(self._shape(value))

    def elements(self, value: ir.Value | None) -> int:
        """Number of elements; raises `Unknown`."""
        return prod(self.dims(value))

    def dims(self, value: ir.Value | None) -> tuple[int, ...]:
        """All dimensions; raises `Unknown` where one that is not the batch is not a number."""
        shape = self._shape(value)
        return tuple(self._number(dim, axis) for axis, dim in enumerate(shape))

    def _number(self, dim: int | ir.SymbolicDim, axis: int) -> int:
        found = dim if isinstance(dim, int) else self._symbols.get(str(dim.value)) or dim.evaluate(self._symbols)
        # Some exporters (Paddle) write -1 or 0 for a dimension that they don't know.
        if isinstance(found, int) and found > 0:
            return found
        if axis == 0:
            return 1
        raise Unknown

    @staticmethod
    def _shape(value: ir.Value | None) -> ir.Shape:
        if value is None:
            raise Unknown
        if value.const_value is not None:
            return ir.Shape(value.const_value.shape.numpy())
        if value.shape is None:
            stored = source(value)
            if stored is None:
                raise Unknown
            return ir.Shape(stored.tensor.shape.numpy())
        return value.shape


_MOVES = frozenset({"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Flatten"})


def source(value: ir.Value | None) -> Stored | None:
    """The stored tensor behind a value, through operators that only move elements; None where it is computed.

    Such operators appear between a weight and its user in exports from JAX and Keras, and as aliases of equal tensors.
    """
    while value is not None:
        if value.const_value is not None:
            return Stored(value.name or "", value.const_value)
        node = value.producer()
        if node is None:
            return None
        if node.op_type == "Constant":
            attribute = node.attributes.get("value")
            return None if attribute is None else Stored(value.name or "", attribute.as_tensor())
        if node.op_type not in _MOVES:
            return None
        value = node.inputs[0]
    return None


def integers(value: ir.Value | None) -> list[int] | None:
    """The elements of a stored integer tensor, or None."""
    stored = source(value)
    return None if stored is None else [int(item) for item in stored.tensor.numpy().ravel()]
