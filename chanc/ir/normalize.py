"""The normal form that every analysis starts from.

Functions are inlined, weights held in Constant nodes become initializers, `Identity(initializer)` goes, nodes are
sorted; weights of bodies (If, Loop, Scan) become initializers of the main graph; pools over more axes than runtimes
take become ones over fewer (`chanc.ir.pools`). Names of surviving outputs stay,
except where two bodies side by side use the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from chanc.boundary import boundary
from chanc.ir.collector import uncollected
from chanc.ir.functions import inline_functions
from chanc.ir.names import Names, value_names, values_of
from chanc.ir.nodes import nodes_of, subgraphs
from chanc.ir.pools import narrow_pools, wide_pools
from chanc.ir.sequences import unroll_sequences, unrollable

NO_WEIGHTS = {ir.DataType.INT64, ir.DataType.BOOL, ir.DataType.STRING}


@boundary("the normal form")
@uncollected()
def normalize(model: ir.Model) -> bool:
    """Bring a model into normal form, in place; says whether anything changed, the order of nodes included.

    Raises ModelError for functions that can't be inlined (`chanc.ir.functions`).
    """
    changed = inline_functions(model)
    if not _sorted(model.graph):
        model.graph.sort()
        changed = True
    bodied = next(subgraphs(model.graph), None) is not None
    changed |= bodied and distinct_names(model.graph)
    changed |= _lift_constants(model.graph)
    changed |= bodied and _lift_from_bodies(model.graph)
    changed |= _drop_initializer_identities(model.graph)
    changed |= narrow_pools(model.graph)
    if unroll_sequences(model.graph):
        _drop_initializer_identities(model.graph)  # a part of a sequence may be an initializer
        changed = True
    return changed


def is_normal(model: ir.Model) -> bool:
    """Whether a model is in normal form: `normalize` would change nothing."""
    if _calls(model) or not _sorted(model.graph):
        return False
    to_do = (_repeated, _constants, _body_initializers, _body_constants, _aliases, wide_pools, unrollable)
    return not any(True for find in to_do for _ in find(model.graph))


def _calls(model: ir.Model) -> bool:
    """Whether a node calls a function of the model, in the graph or in another function; mere definitions may stay."""
    owners: tuple[ir.Graph | ir.Function, ...] = (model.graph, *model.functions.values()) if model.functions else ()
    return any(node.op_identifier() in model.functions for owner in owners for node in nodes_of(owner))


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
    found = list(_constants(graph))
    for node, tensor in found:
        output = node.outputs[0]
        shape = ir.Shape(tensor.shape.numpy())
        value = ir.Value(name=output.name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
        output.replace_all_uses_with(value)
        graph.remove(node, safe=True)
        graph.register_initializer(value)
    return bool(found)


def _constants(graph: ir.Graph) -> Iterator[tuple[ir.Node, ir.TensorProtocol]]:
    """The Constant nodes of a graph itself whose value is a tensor and no graph output."""
    for node in graph:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and not node.outputs[0].is_graph_output():
            tensor = _constant(node)
            if tensor is not None:
                yield node, tensor


def distinct_names(graph: ir.Graph) -> bool:
    """Bodies side by side may use a name twice: the later values get `name.1`, `name.2`, ..., so that names tell."""
    later = list(_repeated(graph))
    names = Names(value_names(graph) if later else ())
    for value in later:
        tensor, value.const_value = value.const_value, None  # it may be shared with the caller's model
        value.name = names.fresh(value.name or "")
        value.const_value = tensor
    return bool(later)


def _repeated(graph: ir.Graph) -> Iterator[ir.Value]:
    """The values of bodies whose name an earlier one has."""
    bodies = list(subgraphs(graph))
    seen = {value.name for value in values_of(graph)} if bodies else set()
    for body in bodies:
        for value in values_of(body):
            if value.name and value.name in seen:
                yield value
            seen.add(value.name)


def _lift_from_bodies(graph: ir.Graph) -> bool:
    """Weights that bodies hold, as initializers or Constant nodes, go to the main graph, which every body sees."""
    held, made = list(_body_initializers(graph)), list(_body_constants(graph))
    for body, value, tensor in held:
        body.initializers.pop(value.name or "")
        _move(graph, value, tensor)
    for body, node, tensor in made:
        _move(graph, node.outputs[0], tensor)
        body.remove(node, safe=True)
    return bool(held or made)


def _body_initializers(graph: ir.Graph) -> Iterator[tuple[ir.Graph, ir.Value, ir.TensorProtocol]]:
    """The weights that bodies hold as initializers, but those that are inputs or outputs of theirs."""
    for body in subgraphs(graph):
        for value in body.initializers.values():
            tensor = value.const_value
            if tensor is not None and _is_weight(tensor) and not value.is_graph_output() and not value.is_graph_input():
                yield body, value, tensor


def _body_constants(graph: ir.Graph) -> Iterator[tuple[ir.Graph, ir.Node, ir.TensorProtocol]]:
    """The weights that bodies hold as Constant nodes."""
    for body in subgraphs(graph):
        yield from ((body, node, tensor) for node, tensor in _constants(body) if _is_weight(tensor))


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
    if name == "value" and attribute.type == ir.AttributeType.TENSOR:
        tensor: ir.TensorProtocol | None = attribute.value  # not as_tensor(), which asks for every method of a tensor
        return tensor
    kinds = {
        "value_float": (ir.AttributeType.FLOAT, ir.DataType.FLOAT),
        "value_floats": (ir.AttributeType.FLOATS, ir.DataType.FLOAT),
        "value_int": (ir.AttributeType.INT, ir.DataType.INT64),
        "value_ints": (ir.AttributeType.INTS, ir.DataType.INT64),
    }
    kind, dtype = kinds.get(name, (None, None))
    if attribute.type != kind:
        return None
    return ir.tensor(attribute.value, dtype=dtype, name=node.outputs[0].name)


def _drop_initializer_identities(graph: ir.Graph) -> bool:
    """Exporters alias equal tensors through Identity: their uses read the initializer itself."""
    changed = False
    for node, source in _aliases(graph):  # not a list of them: what is replaced here may make the next one
        node.outputs[0].replace_all_uses_with(source)
        graph.remove(node, safe=True)
        changed = True
    return changed


def _aliases(graph: ir.Graph) -> Iterator[tuple[ir.Node, ir.Value]]:
    """The Identity nodes of initializers, and what they read; graph outputs stay nodes."""
    for node in graph:
        if node.op_type == "Identity" and node.domain in ("", "ai.onnx") and not node.outputs[0].is_graph_output():
            source = node.inputs[0] if node.inputs else None
            if source is not None and source.const_value is not None:
                yield node, source
