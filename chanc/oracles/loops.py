"""Loops that nobody can wait for: a comparison says so, it doesn't hang."""

from __future__ import annotations

import onnx_ir as ir

from chanc.ir.nodes import bodies, called, seen_through, subgraphs

MOST = 10_000_000
"""Turns of one loop; onnxruntime takes a microsecond or two for a turn that does nothing."""


def too_long(model: ir.Model) -> str:
    """Which loop of a model takes more turns than anybody can wait for; empty where none is known to.

    One that its condition may end counts as one that ends: exporters write `while` with the largest count there is.
    """
    for graph in (model.graph, *subgraphs(model.graph)):
        for node in graph:
            turns = _turns(node) if node.op_type == "Loop" else 0
            if turns > MOST:
                return f"Loop '{called(node)}' takes {turns:,} turns"
    return ""


def _turns(node: ir.Node) -> int:
    """How many turns a loop is told to take, whatever it computes; 0 where that isn't known."""
    count = seen_through(node.inputs[0]).const_value if node.inputs[0] is not None else None
    inner = bodies(node)
    if count is None or count.size != 1 or not inner:
        return 0
    again = seen_through(inner[0].outputs[0])
    # Handed on, the condition stays what it was before the first turn.
    on = node.inputs[1] if again is inner[0].inputs[1] else again
    told = True if on is None else _told(on)
    return int(count.numpy().item()) if told else 0


def _told(value: ir.Value) -> bool:
    """Whether a condition is known to be true."""
    known = seen_through(value).const_value
    return known is not None and bool(known.numpy().all())
