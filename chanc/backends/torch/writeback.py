"""Weights come home: state_dict entries go back into the initializers of the graph that they were read from.

An initializer that several submodules share through different entries stays shared as long as their values agree. Where
training moved them apart (exporters store equal vectors once, though the layers are different), the later ones get an
initializer of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from chanc.backends.torch.program import Binding
from chanc.backends.torch.tensors import to_numpy
from chanc.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


class _Graph:
    """Finds the constant that an entry is bound to, by use where there is one: names may have been un-shared since."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.nodes = {out.name: node for graph in model.graphs() for node in graph for out in node.outputs if out.name}

    def value(self, binding: Binding) -> ir.Value:
        """The value that the entry's first use reads; the initializer's name decides where that node is gone."""
        for name, index in binding.uses:
            node = self.nodes.get(name)
            read = node.inputs[index] if node is not None and index < len(node.inputs) else None
            if read is not None:
                return read
        return self.named(binding.initializer)

    def named(self, name: str) -> ir.Value:
        if name in self.graph.initializers:
            return self.graph.initializers[name]
        node = self.nodes.get(name)
        if node is None:
            raise ModelError(
                f"the model has no initializer {name!r}: it is not the graph that the module was built from"
            )
        return next(out for out in node.outputs if out.name == name)

    def holder(self, value: ir.Value) -> ir.Value:
        """The initializer or Constant output behind any Identity."""
        while (node := value.producer()) is not None and node.op_type == "Identity" and node.inputs[0] is not None:
            value = node.inputs[0]
        return value


def _array(value: ir.Value) -> np.ndarray:
    if value.const_value is not None:
        return np.asarray(value.const_value.numpy())
    node = value.producer()
    if node is not None and node.op_type == "Constant":
        for name, dtype in (
            ("value_float", np.float32),
            ("value_floats", np.float32),
            ("value_int", np.int64),
            ("value_ints", np.int64),
        ):
            if name in node.attributes:
                return np.array(node.attributes[name].value, dtype=dtype)
        if "value" in node.attributes:
            return np.asarray(node.attributes["value"].as_tensor().numpy())
    if node is None:
        raise ModelError(f"a loop hands {value.name!r} on: as PyTorch source it would be several weights")
    raise ModelError(f"value {value.name!r} is no constant any more")


def arrays_of(model: ir.Model, bindings: Mapping[str, Binding]) -> dict[str, np.ndarray]:
    """state_dict key -> the whole array of the initializer that it is bound to."""
    graph = _Graph(model)
    return {
        key: _array(graph.holder(graph.value(binding))) for key, binding in bindings.items() if not binding.constant
    }


def write_back(module: nn.Module, bindings: Mapping[str, Binding], model: ir.Model) -> None:
    """Copy every bound entry of the module's state_dict into `model`; dtypes and shapes of the initializers are kept.

    Raises ModelError where `model` lacks an initializer or has it in another shape.
    """
    graph, state = _Graph(model), module.state_dict()
    written: dict[ir.Value, np.ndarray] = {}
    parts: dict[ir.Value, set[tuple[int | None, tuple[int, ...] | None]]] = {}
    for key, binding in bindings.items():
        if binding.constant:
            continue
        value = graph.value(binding)
        holder = graph.holder(value)
        old = written.get(holder)
        whole = np.array(_array(holder) if old is None else old)
        tensor = to_numpy(state[key], whole.dtype)
        if tensor.size != binding.to_tensor(whole).size:
            raise ModelError(f"initializer {binding.initializer!r} has another shape than {key!r} of the module")
        new = binding.to_initializer(tensor, whole)
        part = (binding.part, binding.rows)
        if old is not None and part in parts[holder] and not np.array_equal(new, old, equal_nan=new.dtype.kind == "f"):
            _unshare(graph, binding, value, holder, new)
            continue
        written[holder] = new
        parts.setdefault(holder, set()).add(part)
    for holder, array in written.items():
        if not _same(array, _array(holder)):
            _store(holder, array)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _store(value: ir.Value, array: np.ndarray) -> None:
    node = value.producer()
    tensor = ir.tensor(array, dtype=value.const_value.dtype if value.const_value is not None else None, name=value.name)
    if node is not None:
        node.attributes.clear()
        node.attributes.add(ir.AttrTensor("value", tensor))
    if node is None or value.const_value is not None:
        value.const_value = tensor


def _unshare(graph: _Graph, binding: Binding, value: ir.Value, holder: ir.Value, array: np.ndarray) -> None:
    """Give an entry's uses an initializer of their own: the name of the Identity that aliased it, or a new one."""
    if not binding.uses:
        raise ModelError(f"initializer {holder.name!r} can't hold two different values")
    name, count = f"{holder.name}_2", 2
    while name in graph.graph.initializers or name in graph.nodes:
        count += 1
        name = f"{holder.name}_{count}"
    fresh = _initializer(name, holder, array)
    for node_name, index in binding.uses:
        graph.nodes[node_name].replace_input_with(index, fresh)
    node = value.producer()
    if node is not None and node.op_type == "Identity" and not value.uses() and not value.is_graph_output():
        fresh.name = value.name
        node.graph.remove(node, safe=True)  # type: ignore[union-attr]
    graph.graph.register_initializer(fresh)


def _initializer(name: str, like: ir.Value, array: np.ndarray) -> ir.Value:
    dtype = like.const_value.dtype if like.const_value is not None else like.dtype
    tensor = ir.tensor(array, dtype=dtype, name=name)
    return ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
