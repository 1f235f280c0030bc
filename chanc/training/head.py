"""The end of a graph while it trains: a loss with a softmax of its own wants what stands before the graph's."""

from __future__ import annotations

import onnx_ir as ir

from chanc.ops import Trait, has

_SOFTMAX = ("Softmax", "LogSoftmax")


def end_at_logits(graph: ir.Graph) -> dict[int, int]:
    """Leave out, in place, the Softmax or LogSoftmax that an output ends in, views behind it included.

    One along the batch axis, or on a graph's input, stays: it is no head. So does one whose views are read elsewhere.
    Returns the numbers of the outputs that are logits now, each with the axis of its classes where that is known.
    """
    found: dict[int, int] = {}
    for index, output in enumerate(list(graph.outputs)):
        views, last = _views(output), output
        if views:
            last = views[-1].inputs[0] or output
        node = last.producer()
        if node is None or not _is_softmax(node) or _along_batch(node):
            continue
        logits = node.inputs[0]
        if logits is None or logits.producer() is None:
            continue
        axis = _class_axis(node, graph.opset_imports.get("", 1), output)
        if axis is not None:
            found[index] = axis
        if views:
            views[-1].replace_input_with(0, logits)
        else:
            graph.outputs[index] = _exit(graph, logits, output)
        if not last.uses() and not last.is_graph_output():
            graph.remove(node, safe=True)
    return found


def _class_axis(node: ir.Node, opset: int, output: ir.Value) -> int | None:
    """The axis of an output along which the softmax of a node has its classes; None where views have moved it."""
    rank = len(output.shape) if output.shape is not None else None
    if output is not node.outputs[0]:
        return 1 if rank == 2 else None
    axis = node.attributes.get_int("axis", -1 if opset >= 13 else 1)
    if rank is None:
        return axis if opset >= 13 else None
    axis %= rank
    # Before opset 13 all axes from this one on are one.
    return axis if opset >= 13 or axis == rank - 1 else None


def _views(output: ir.Value) -> list[ir.Node]:
    """The reshaping nodes that an output ends in, the last one first; nobody else reads what they read."""
    found: list[ir.Node] = []
    node = output.producer()
    while node is not None and has(node, Trait.RESHAPE, Trait.RECAST):
        read = node.inputs[0]
        if read is None or read.is_graph_output() or len(read.uses()) != 1:
            break
        found.append(node)
        node = read.producer()
    return found


def _exit(graph: ir.Graph, logits: ir.Value, output: ir.Value) -> ir.Value:
    """The logits as a graph output of their own."""
    if logits.is_graph_output():
        node = ir.node("Identity", [logits])
        graph.append(node)
        logits = node.outputs[0]
    logits.type, logits.shape = logits.type or output.type, logits.shape or output.shape
    return logits


def _along_batch(node: ir.Node) -> bool:
    axis, shape = node.attributes.get_int("axis", 1), node.outputs[0].shape
    return axis == 0 or (shape is not None and axis == -len(shape))


def _is_softmax(node: ir.Node) -> bool:
    return node.op_type in _SOFTMAX and node.domain in ("", "ai.onnx")
