"""Which axis of a graph's inputs holds the samples: the first, but for sequences that recurrent layers read step first.

ONNX's recurrent layers take [T, B, I], PyTorch's by default too; a network that is fed [B, T, I] turns it before.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from chanc.ops import Trait, has, kind_of
from chanc.ops.recurrent import BATCH_AXES, RECURRENT, batch_first


def batch_axes(graph: ir.Graph) -> Mapping[ir.Value, int]:
    """The batch axis of those inputs that a recurrent layer reads, directly or past operators that keep axes apart."""
    found: dict[ir.Value, int] = {}
    for node in graph:
        if kind_of(node) not in RECURRENT or batch_first(node.attributes):
            continue
        for index, axis in BATCH_AXES.items():
            value = node.inputs[index] if index < len(node.inputs) else None
            origin = _origin(value, axis) if value is not None else None
            if origin is not None:
                found.setdefault(*origin)
    return found


def _origin(value: ir.Value, axis: int) -> tuple[ir.Value, int] | None:
    """The graph input that an axis of a value is an axis of; None where that can't be told."""
    while (node := value.producer()) is not None:
        before: ir.Value | None = None
        if node.op_type == "Transpose" and "perm" in node.attributes:
            order = node.attributes["perm"].as_ints()
            if axis >= len(order):
                return None
            before, axis = node.inputs[0], order[axis]
        elif node.op_type == "Gather" and not node.attributes.get_int("axis", 0):
            before = node.inputs[1]  # a table is looked up
        elif has(node, Trait.ELEMENTWISE, Trait.LINEAR, Trait.NORM):
            before = _data(node)
        if before is None:
            return None
        value = before
    return (value, axis) if value.is_graph_input() else None


def _data(node: ir.Node) -> ir.Value | None:
    """The one input that isn't a constant; None where there are several."""
    found = [value for value in node.inputs if value is not None and value.const_value is None]
    return found[0] if len(found) == 1 else None
