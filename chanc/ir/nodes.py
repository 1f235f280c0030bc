"""Nodes: what they are called, and the bodies that some of them hold."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

GRAPH, GRAPHS = ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS


def called(node: ir.Node) -> str:
    """The name of the node's first output that has one: a GRU whose sequence nobody reads has none for its first.

    Node names are optional and need not differ.
    """
    for value in node.outputs:
        if value.name:
            name: str = value.name
            return name
    return ""


def bodies(node: ir.Node) -> list[ir.Graph]:
    """The graphs that a node holds, in the order of its attributes: both branches of an If, a loop's body."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.data.values():
        kind = attribute.type
        if kind is GRAPH:
            found.append(attribute.as_graph())
        elif kind is GRAPHS:
            found += attribute.as_graphs()
    return found


def subgraphs(graph: ir.Graph | ir.Function) -> Iterator[ir.Graph]:
    """The bodies in a graph, at any depth, outer ones first."""
    for node in graph:
        for body in bodies(node):
            yield body
            yield from subgraphs(body)


def captured_by(node: ir.Node) -> Iterator[ir.Value]:
    """Values of the outer graph that the node's bodies use."""
    for graph in bodies(node):
        yield from _free(graph)


def carried(node: ir.Node) -> list[tuple[int, ir.Value, bool]]:
    """What a Loop or Scan carries from turn to turn: the node's input, the body's, and whether it is always the same.

    Input k of the node is input k of the body; a body hands out what it carries in the same order (behind whether to go
    on, in a Loop).
    """
    if node.op_type not in ("Loop", "Scan") or len(bodies(node)) != 1:
        return []
    (body,) = bodies(node)
    looped, count = node.op_type == "Loop", node.attributes.get("num_scan_inputs")
    elements = count.as_int() if count is not None and not looped else 0
    places = range(2 if looped else 0, min(len(node.inputs) - elements, len(body.inputs)))
    ends = body.outputs[1 if looped else 0 :]
    return [
        (index, body.inputs[index], seen_through(end) is body.inputs[index])
        for index, end in zip(places, ends, strict=False)
    ]


def seen_through(value: ir.Value) -> ir.Value:
    """The value behind any Identity."""
    node = value.producer()
    while node is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def _free(graph: ir.Graph) -> Iterator[ir.Value]:
    inside = set(graph.inputs) | set(graph.initializers.values())
    for node in graph:
        for value in (*node.inputs, *captured_by(node)):
            if value is not None and value not in inside:
                yield value
        inside.update(node.outputs)
    for value in graph.outputs:
        if value not in inside:
            yield value


def nodes_of(graph: ir.Graph | ir.Function) -> Iterator[ir.Node]:
    """The nodes of a graph or function, each followed by those of its bodies, at any depth."""
    for node in graph:
        yield node
        for body in bodies(node):
            yield from nodes_of(body)
