"""Making initializers: named constants of a graph."""

from __future__ import annotations

from typing import cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

COMPUTED = "chanc.computed"
"""Set in the `meta` of an initializer that stands for what was computed from sizes: it is no trained parameter."""


def constant(name: str, array: NDArray[np.generic], dtype: ir.DataType | None = None) -> ir.Value:
    """A value that holds `array` under that name; it belongs to no graph yet."""
    # Not ascontiguousarray, which gives a single number an axis.
    array = np.asarray(array, order="C")
    tensor = ir.Tensor(array, dtype=dtype, name=name)
    shape = ir.Shape(array.shape)
    return ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)


def add_constant(graph: ir.Graph, name: str, array: NDArray[np.generic], dtype: ir.DataType | None = None) -> ir.Value:
    """Add an initializer to a graph, under a name that must be free (see `chanc.ir.names`)."""
    value = constant(name, array, dtype)
    graph.register_initializer(value)
    return value


def constant_shape(value: ir.Value) -> tuple[int, ...]:
    """The shape of an initializer; empty for a value that is none."""
    tensor = value.const_value
    if tensor is None:
        return ()
    # The shape of what was read from a file is made anew each time it is asked for.
    if type(tensor) is ir.TensorProtoTensor:
        return tuple(tensor.raw.dims)
    return cast(tuple[int, ...], tensor.shape.dims)  # a tensor in hand has no symbolic axis
