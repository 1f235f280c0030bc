"""Initializers, the named constants of a graph: how they are made, and which of them a caller may feed."""

from __future__ import annotations

import functools

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.ir.dtypes import FLOATS

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


def fed(model: ir.Model) -> frozenset[ir.Value]:
    """The initializers that are graph inputs, too, so that a caller may feed something else.

    Up to IR version 3 all initializers had to be inputs, and some exporters still write them all so: those are
    constants. Where only some are, they are meant to be fed.
    """
    inputs = [value for value in model.graph.inputs if value.const_value is not None]
    if not inputs or model.ir_version < 4:
        return frozenset()
    kernels = [value for value in model.graph.initializers.values() if len(constant_shape(value)) > 1]
    whole = bool(kernels) and all(value.is_graph_input() for value in kernels if value.dtype in FLOATS)
    return frozenset() if whole else frozenset(inputs)


@functools.lru_cache(maxsize=1024)
def frozen_shape(sizes: tuple[int, ...]) -> ir.Shape:
    """A shape that nobody can change, so that all tensors of these sizes have one."""
    return ir.Shape(sizes, frozen=True)


def constant_shape(value: ir.Value) -> tuple[int, ...]:
    """The shape of an initializer; empty for a value that is none."""
    tensor = value.const_value
    return () if tensor is None else shape_of(tensor)


def shape_of(tensor: ir.TensorProtocol) -> tuple[int, ...]:
    """The shape of a tensor in hand."""
    # The shape of what was read from a file is made anew each time it is asked for.
    if type(tensor) is ir.TensorProtoTensor:
        return tuple(tensor.raw.dims)
    shape: tuple[int, ...] = tensor.shape.dims  # type: ignore[assignment]  # a tensor in hand has no symbolic axis
    return shape
