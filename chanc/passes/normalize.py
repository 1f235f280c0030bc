"""The normal form that every analysis starts from.

Functions are inlined, weights held in Constant nodes become initializers, `Identity(initializer)` goes, nodes are
sorted. Names of surviving outputs stay.
"""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as common
from onnx_ir.passes import PassResult

from chanc.passes._sequences import unroll_sequences
from chanc.passes.base import Pass


class Normalize(Pass):
    """Bring a model into normal form."""

    def call(self, model: ir.Model) -> PassResult:
        """Normalize in place."""
        changed = False
        if model.functions:
            changed |= common.InlinePass()(model).modified
        if not _sorted(model.graph):
            model.graph.sort()
            changed = True
        changed |= _lift_constants(model.graph)
        changed |= _drop_initializer_identities(model.graph)
        changed |= unroll_sequences(model.graph)
        return PassResult(model, changed)


def normalize(model: ir.Model) -> None:
    """Bring a model into normal form, in place."""
    Normalize()(model)


def _sorted(graph: ir.Graph) -> bool:
    seen: set[ir.Node] = set()
    for node in graph:
        for value in node.inputs:
            if (
                value is not None
                and (maker := value.producer()) is not None
                and maker.graph is graph
                and maker not in seen
            ):
                return False
        seen.add(node)
    return True


def _lift_constants(graph: ir.Graph) -> bool:
    """Every Constant node of the main graph becomes an initializer of the same name; graph outputs stay nodes."""
    changed = False
    for node in list(graph):
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
            continue
        tensor = _constant(node)
        output = node.outputs[0]
        if tensor is None or output.is_graph_output():
            continue
        shape = ir.Shape(tensor.shape.numpy())
        value = ir.Value(name=output.name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
        output.replace_all_uses_with(value)
        graph.remove(node, safe=True)
        graph.register_initializer(value)
        changed = True
    return changed


def _constant(node: ir.Node) -> ir.TensorProtocol | None:
    name, attribute = next(iter(node.attributes.items()), ("", None))
    if attribute is None:
        return None
    if name == "value":
        return attribute.as_tensor()
    kinds = {
        "value_float": ir.DataType.FLOAT,
        "value_floats": ir.DataType.FLOAT,
        "value_int": ir.DataType.INT64,
        "value_ints": ir.DataType.INT64,
    }
    if name not in kinds:
        return None
    return ir.tensor(attribute.value, dtype=kinds[name], name=node.outputs[0].name)


def _drop_initializer_identities(graph: ir.Graph) -> bool:
    """Exporters alias equal tensors through Identity: their uses read the initializer itself."""
    changed = False
    for node in list(graph):
        if node.op_type != "Identity" or node.domain not in ("", "ai.onnx"):
            continue
        source, output = node.inputs[0], node.outputs[0]
        if source is None or source.const_value is None or output.is_graph_output():
            continue
        output.replace_all_uses_with(source)
        graph.remove(node, safe=True)
        changed = True
    return changed
