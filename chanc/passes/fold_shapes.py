"""Replace shape chains by what they compute, where that is known.

A Reshape whose target is computed from its own input's shape gets a constant target; where one axis is dynamic it is -1.
Masks and index tables that depend on nothing but sizes become initializers. Nodes that nobody reads any more go.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common
from onnx_ir.passes import InPlacePass, PassResult

from chanc.analysis.dims import Dim
from chanc.analysis.run import sweep_model
from chanc.analysis.sweep import Array, Sweep


class FoldShapes(InPlacePass):
    """Fold what the sweep has read through; the model must be in normal form."""

    def call(self, model: ir.Model) -> PassResult:
        """Fold in place."""
        return PassResult(model, fold_shapes(model, sweep_model(model)))


def fold_shapes(model: ir.Model, sweep: Sweep) -> bool:
    """Fold by the findings of a sweep of this very model; says whether anything changed."""
    changed = False
    outputs = set(model.graph.outputs)
    for node in model.graph:
        for index, value in enumerate(node.inputs):
            if value is None or value.const_value is not None or value not in sweep.data or node.outputs[0] in sweep.data:
                continue
            array = _constant(node, index, sweep.data[value], sweep)
            if array is not None:
                node.replace_input_with(index, _initializer(model.graph, value, array))
                changed = True
    if changed:
        _remove_dead(model, outputs)
    return changed


def _constant(node: ir.Node, index: int, array: Array, sweep: Sweep) -> Array | None:
    """The constant that can stand for a value at this input, or None."""
    if array.dtype != object:
        return array
    if node.op_type != "Reshape" or index != 1:
        return None
    sizes = array.ravel().tolist()
    unknown = [k for k, n in enumerate(sizes) if isinstance(n, Dim)]
    if len(unknown) == 1 and 0 not in sizes and -1 not in sizes:
        return np.array([-1 if isinstance(n, Dim) else n for n in sizes], dtype=np.int64)
    layout = sweep.layouts.get(node.inputs[0]) if node.inputs[0] is not None else None
    if layout is None or node.attributes.get("allowzero") is not None or 0 in sizes or -1 in sizes:
        return None
    copied = [k for k in unknown if k < layout.rank and layout.size(k) == sizes[k]]
    left = [k for k in unknown if k not in copied]
    if len(left) > 1:
        return None
    return np.array([0 if k in copied else -1 if k in left else n for k, n in enumerate(sizes)], dtype=np.int64)


def _initializer(graph: ir.Graph, value: ir.Value, array: Array) -> ir.Value:
    """An initializer of that content, named after the value; one for each content."""
    base = value.name or "folded"
    name, k = f"{base}.folded", 0
    while name in graph.initializers:
        known = graph.initializers[name].const_value
        if known is not None and known.dtype == ir.DataType.from_numpy(array.dtype) and np.array_equal(known.numpy(), array):
            return graph.initializers[name]
        k += 1
        name = f"{base}.folded.{k}"
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    fresh = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape), const_value=tensor)
    graph.register_initializer(fresh)
    return fresh


def _remove_dead(model: ir.Model, outputs: set[ir.Value]) -> None:
    common.RemoveUnusedNodesPass()(model)
