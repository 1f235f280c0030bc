"""The normal form that every analysis starts from.

Functions are inlined, weights held in Constant nodes become initializers, `Identity(initializer)` goes, nodes are
sorted; weights of bodies (If, Loop, Scan) become initializers of the main graph. Names of surviving outputs stay,
except where two bodies side by side use the same.
"""

from __future__ import annotations

import itertools

import onnx_ir as ir
import onnx_ir.passes.common as common

from chanc.ir.names import Names, value_names, values_of
from chanc.ir.nodes import subgraphs
from chanc.ir.sequences import unroll_sequences

NO_WEIGHTS = {ir.DataType.INT64, ir.DataType.BOOL, ir.DataType.STRING}


def normalize(model: ir.Model) -> bool:
    """Bring a model into normal form, in place; says whether anything changed, the order of nodes included."""
    changed = False
    if model.functions:
        changed |= common.InlinePass()(model).modified
    if not _sorted(model.graph):
        model.graph.sort()
        changed = True
    changed |= distinct_names(model.graph)
    changed |= _lift_constants(model.graph)
    changed |= _lift_from_bodies(model.graph)
    changed |= _drop_initializer_identities(model.graph)
    changed |= unroll_sequences(model.graph)
    return changed


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


def distinct_names(graph: ir.Graph) -> bool:
    """Bodies side by side may use a name twice: the later values get `name.1`, `name.2`, ..., so that names tell."""
    bodies = list(subgraphs(graph))
    if not bodies:
        return False
    names = Names(value_names(graph))
    seen = {value.name for value in values_of(graph)}
    changed = False
    for value in itertools.chain.from_iterable([list(values_of(body)) for body in bodies]):
        if value.name and value.name in seen:
            tensor, value.const_value = value.const_value, None  # it may be shared with the caller's model
            value.name = names.fresh(value.name)
            value.const_value = tensor
            changed = True
        seen.add(value.name)
    return changed


def _lift_from_bodies(graph: ir.Graph) -> bool:
    """Weights that bodies hold, as initializers or Constant nodes, go to the main graph, which every body sees."""
    changed = False
    for body in list(subgraphs(graph)):
        for value in list(body.initializers.values()):
            tensor = value.const_value
            if tensor is not None and _is_weight(tensor) and not value.is_graph_output() and value not in body.inputs:
                body.initializers.pop(value.name or "")
                _move(graph, value, tensor)
                changed = True
        for node in list(body):
            held = _constant(node) if node.op_type == "Constant" and node.domain in ("", "ai.onnx") else None
            if held is not None and _is_weight(held) and not node.outputs[0].is_graph_output():
                _move(graph, node.outputs[0], held)
                body.remove(node, safe=True)
                changed = True
    return changed


def _is_weight(tensor: ir.TensorProtocol) -> bool:
    return len(tensor.shape) > 0 and tensor.dtype not in NO_WEIGHTS


def _move(graph: ir.Graph, old: ir.Value, tensor: ir.TensorProtocol) -> None:
    """An initializer of the main graph in the place of a body's value."""
    shape = ir.Shape(tensor.shape.numpy())
    value = ir.Value(name=old.name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
    old.replace_all_uses_with(value)
    graph.register_initializer(value)


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
