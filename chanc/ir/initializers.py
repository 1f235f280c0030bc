"""Making initializers: named constants of a graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

BODIED = ("If", "Loop", "Scan", "SequenceMap")
"""The standard operators that hold graphs: looking into the attributes of all others takes long."""


def constant(name: str, array: NDArray[np.generic], dtype: ir.DataType | None = None) -> ir.Value:
    """A value that holds `array` under that name; it belongs to no graph yet."""
    # Not ascontiguousarray, which gives a single number an axis.
    array = np.asarray(array, order="C")
    tensor = ir.Tensor(array, dtype=dtype, name=name)
    shape = ir.Shape(array.shape)
    return ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)


def add_constant(graph: ir.Graph, base: str, array: NDArray[np.generic], dtype: ir.DataType | None = None) -> ir.Value:
    """Add an initializer to a graph, under `base` or the first free `base.1`, `base.2`, ..."""
    value = constant(fresh_name(graph, base), array, dtype)
    graph.register_initializer(value)
    return value


def fresh_name(graph: ir.Graph, base: str) -> str:
    """A name that no initializer, input or node output of the graph or of a body in it has yet."""
    name, k = base, 0
    while name in graph.initializers or _is_made(graph, name):
        k += 1
        name = f"{base}.{k}"
    return name


def _is_made(graph: ir.Graph, name: str) -> bool:
    if any(value.name == name for value in graph.inputs):
        return True
    for node in graph:
        if any(value.name == name for value in node.outputs):
            return True
        if node.op_type in BODIED or node.domain not in ("", "ai.onnx"):
            inner = [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
            if any(name in body.initializers or _is_made(body, name) for body in inner):
                return True
    return False


def constant_shape(value: ir.Value) -> tuple[int, ...]:
    """The shape of an initializer; empty for a value that is none."""
    tensor = value.const_value
    if tensor is None:
        return ()
    # The shape of what was read from a file is made anew each time it is asked for.
    dims = tensor.raw.dims if type(tensor) is ir.TensorProtoTensor else tensor.shape.numpy()
    return tuple(dims)
