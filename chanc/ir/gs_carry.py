"""What a `gs.Graph` has no place for: gathered from a model before it becomes one, put back by name afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir


@dataclass(frozen=True)
class Texts:
    """What a node, value or graph has beside its structure: its doc string, metadata, and onnx_ir's own notes."""

    doc_string: str | None
    metadata: dict[str, str]
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass
class Carry:
    """What a `gs.Graph` has no place for. Nodes are named by their first output, values by their name."""

    model: dict[str, Any]
    graph: Texts
    nodes: dict[str, Texts] = field(default_factory=dict)
    values: dict[str, Texts] = field(default_factory=dict)
    types: dict[str, ir.TypeProtocol] = field(default_factory=dict)
    attribute_types: dict[tuple[str, str], ir.AttributeType] = field(default_factory=dict)
    initializers: list[str] = field(default_factory=list)
    unused: dict[str, ir.Value] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)
    functions: dict[tuple[str, str], Texts] = field(default_factory=dict)


def collect(model: ir.Model) -> Carry:
    """Gather what a `gs.Graph` of `model` won't hold."""
    graph = model.graph
    fields = ("producer_name", "producer_version", "domain", "model_version", "doc_string")
    carry = Carry({name: getattr(model, name) for name in fields}, texts(graph))
    carry.model["metadata_props"] = dict(model.metadata_props)
    carry.model["meta"] = dict(model.meta)
    carry.initializers = list(graph.initializers)
    carry.unused = {name: v for name, v in graph.initializers.items() if not v.uses() and not v.is_graph_output()}
    carry.inputs = {str(v.name): i for i, v in enumerate(graph.inputs) if v.name in graph.initializers}
    for value in (*graph.inputs, *graph.initializers.values()):
        _collect_value(carry, value)
    for node in graph.all_nodes():
        for value in node.outputs:
            _collect_value(carry, value)
        key = first_output(node)
        if key and (node.doc_string or node.metadata_props):
            carry.nodes[key] = texts(node)
        for attribute in node.attributes.values():
            if key and not attribute.is_ref() and isinstance(attribute.value, (list, tuple)) and not attribute.value:
                carry.attribute_types[key, attribute.name] = attribute.type
    carry.functions = {(f.domain, f.name): texts(f) for f in model.functions.values()}
    return carry


def restore(model: ir.Model, carry: Carry) -> None:
    """Put back what the `gs.Graph` had no place for, where the name is still there."""
    graph = model.graph
    for name in ("domain", "model_version", "doc_string"):
        setattr(model, name, carry.model[name])
    model.metadata_props.update(carry.model["metadata_props"])
    model.meta.update(carry.model["meta"])
    graph.metadata_props.update(carry.graph.metadata)
    taken = {value.name for value in graph.inputs} | {v.name for node in graph.all_nodes() for v in node.outputs}
    for name, value in carry.unused.items():
        if name not in graph.initializers and (name not in taken):
            twin = ir.Value(name=name, type=value.type, shape=value.shape, const_value=value.const_value)
            graph.register_initializer(twin)
    order = {name: index for index, name in enumerate(carry.initializers)}
    ordered = sorted(graph.initializers.values(), key=lambda value: order.get(str(value.name), len(order)))
    graph.initializers.clear()
    for value in ordered:
        graph.register_initializer(value)
    for name, position in sorted(carry.inputs.items(), key=lambda item: item[1]):
        if name in graph.initializers and not graph.initializers[name].is_graph_input():
            graph.inputs.insert(position, graph.initializers[name])
    for value in (*graph.inputs, *graph.initializers.values()):
        _restore_value(value, carry)
    for node in graph.all_nodes():
        _restore_texts(node, carry.nodes.get(first_output(node)))
        for value in node.outputs:
            _restore_value(value, carry)
    for function in model.functions.values():
        _restore_texts(function, carry.functions.get((function.domain, function.name)))


def _restore_value(value: ir.Value, carry: Carry) -> None:
    _restore_texts(value, carry.values.get(value.name or ""))
    if value.type is None and value.name in carry.types:
        value.type = carry.types[value.name]


def _restore_texts(thing: Any, found: Texts | None) -> None:
    if found is not None:
        thing.doc_string = found.doc_string
        thing.metadata_props.update(found.metadata)
        thing.meta.update(found.meta)


def texts(thing: Any) -> Texts:
    """The texts of a node, value, graph or function."""
    return Texts(thing.doc_string, dict(thing.metadata_props), dict(thing.meta))


def first_output(node: ir.Node) -> str:
    """The name of the node's first named output, "" if it has none."""
    return next((value.name for value in node.outputs if value.name), "")


def _collect_value(carry: Carry, value: ir.Value) -> None:
    if not value.name:
        return
    if value.doc_string or value.metadata_props or value.meta:
        carry.values[value.name] = texts(value)
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        carry.types[value.name] = value.type
