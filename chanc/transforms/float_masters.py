"""Quantised weights as floats, for training: masters, which are quantised again at the scales that they have.

    W = DequantizeLinear(w, s, z)   ->   W = DequantizeLinear(QuantizeLinear(master, s, z), s, z)

The master takes the place of w in the graph, under its name, so that a training sees what will be stored. Biases are
quantised to int32, which ONNX's own QuantizeLinear doesn't know: onnxruntime's stands for it, in a graph nobody runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.ops.table import kind_of

TYPES = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16, ir.DataType.INT32)
_DOMAIN = "com.microsoft"
_READERS = (("", "DequantizeLinear"), (_DOMAIN, "DequantizeLinear"))

Array = NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Master:
    """How an initializer is quantised: by scale and zero point, in shapes that fit its values, to a type."""

    scale: NDArray[np.float64]
    zero: NDArray[np.float64]
    dtype: ir.DataType

    def floats(self, stored: Array) -> Array:
        """What integers stand for, float32."""
        values: Array = ((stored.astype(np.float64) - self.zero) * self.scale).astype(np.float32)
        return values

    def integers(self, values: Array) -> Array:
        """saturate(round(values / scale) + zero), half to even."""
        limits = np.iinfo(self.dtype.numpy())
        found = np.rint(values.astype(np.float64) / self.scale) + self.zero
        stored: Array = np.clip(found, limits.min, limits.max).astype(self.dtype.numpy())
        return stored


def float_masters(model: ir.Model, names: Collection[str]) -> Mapping[str, Master]:
    """Put floats in the place of the quantised weights among `names`, in place; how each is quantised, by its name.

    A weight that is packed, in blocks, or quantised in two ways stays as it is. The graph has shapes.
    """
    found = {name: plan for name in names if (plan := _plan(model.graph.initializers.get(name)))}
    for name, plan in found.items():
        value = model.graph.initializers[name]
        assert value.const_value is not None
        _hold(value, plan.floats(value.const_value.numpy()))
        for node, _ in tuple(value.uses()):
            _quantise_again(model.graph, node, plan)
        model.graph.opset_imports.setdefault(_DOMAIN, 1)
    return found


@contextmanager
def in_floats(model: ir.Model, masters: Mapping[str, Master]) -> Iterator[None]:
    """The weights of `masters` are floats inside, and quantised again at the end, but those that weren't touched."""
    before = {name: model.graph.initializers[name].const_value for name in masters}
    floats = {name: masters[name].floats(kept.numpy()) for name, kept in before.items() if kept is not None}
    for name, values in floats.items():
        _hold(model.graph.initializers[name], values)
    try:
        yield
    finally:
        for name, plan in masters.items():
            value = model.graph.initializers[name]
            now = value.const_value
            assert now is not None
            if np.array_equal(now.numpy(), floats[name]):
                value.type, value.const_value = ir.TensorType(plan.dtype), before[name]
            else:
                _hold(value, plan.integers(now.numpy()))


def _plan(value: ir.Value | None) -> Master | None:
    """How an initializer is quantised; None for one that isn't, or not in one way that all its readers share."""
    stored, readers = (value.const_value, tuple(value.uses())) if value is not None else (None, ())
    if value is None or stored is None or stored.dtype not in TYPES or not readers or value.is_graph_input():
        return None
    plans = [_way(node, index, stored) for node, index in readers]
    first = plans[0]
    if first is None or value.is_graph_output() or any(plan is None or not _same(plan, first) for plan in plans):
        return None
    return first


def _way(node: ir.Node, index: int, stored: ir.TensorProtocol) -> Master | None:
    if kind_of(node) not in _READERS or index != 0 or node.attributes.get_int("block_size", 0) > 0:
        return None
    scale, zero = (_constant(node, place) for place in (1, 2))
    if scale is None or (zero is None and len(node.inputs) > 2 and node.inputs[2] is not None):
        return None
    rank, axis = len(stored.shape), node.attributes.get_int("axis", 1)

    def along(vector: Array) -> NDArray[np.float64]:
        sizes = [-1 if vector.size > 1 and place == axis % rank else 1 for place in range(rank)]
        return vector.astype(np.float64).reshape(sizes)

    zero = np.zeros((), stored.dtype.numpy()) if zero is None else zero
    return Master(along(scale), along(zero), stored.dtype)


def _constant(node: ir.Node, index: int) -> Array | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    return value.const_value.numpy() if value is not None and value.const_value is not None else None


def _same(one: Master, two: Master) -> bool:
    return np.array_equal(one.scale, two.scale) and np.array_equal(one.zero, two.zero)


def _hold(value: ir.Value, array: Array) -> None:
    value.const_value = ir.tensor(array, name=value.name)
    value.type = ir.TensorType(value.const_value.dtype)


def _quantise_again(graph: ir.Graph, node: ir.Node, plan: Master) -> None:
    """A quantisation of the master before the DequantizeLinear that reads it."""
    axis, value = node.attributes.get_int("axis", 1), node.inputs[0]
    quantised = ir.Node(_DOMAIN, "QuantizeLinear", node.inputs, [ir.AttrInt64("axis", axis)])
    quantised.outputs[0].type = ir.TensorType(plan.dtype)
    quantised.outputs[0].shape = value.shape if value is not None else None
    graph.insert_before(node, quantised)
    node.replace_input_with(0, quantised.outputs[0])
