"""How large an integer input may be: what it looks up, as far as the graph tells."""

from __future__ import annotations

import onnx_ir as ir

from chanc.ops import Trait, has

INTEGERS_BELOW = 4
"""Where nothing is looked up."""

_CARRIERS = (
    Trait.VIEW, Trait.RESHAPE, Trait.RECAST, Trait.CUTTER, Trait.ADDITIVE, Trait.ELEMENTWISE, Trait.BROADCAST
)  # fmt: skip
_EMBEDDINGS = {0: 2, 1: 4, 7: 3}
"""Of com.microsoft EmbedLayerNormalization: which input holds the ids of which table."""


def below(value: ir.Value) -> int:
    """The bound of an integer input: the rows of the smallest table that it leads to; 2 where it becomes a mask."""
    bound, seen, reached = INTEGERS_BELOW, {value}, [value]
    while reached:
        for node, index in reached.pop().uses():
            bound = min(bound, _rows(node, index) or bound)
            if has(node, *_CARRIERS) or node.op_type in ("Expand", "Tile"):
                fresh = set(node.outputs) - seen
                seen |= fresh
                reached += fresh
    return max(bound, 1)


def _rows(node: ir.Node, index: int) -> int | None:
    """How many entries the node looks an id up in, where its input `index` holds ids."""
    if node.op_type in ("Gather", "GatherElements", "GatherBlockQuantized") and index == 1:
        axis = node.attributes.get_int("gather_axis" if node.domain else "axis", 0)
        return _size(node.inputs[0], axis)
    if node.op_type == "EmbedLayerNormalization" and index in _EMBEDDINGS:
        return _size(node.inputs[_EMBEDDINGS[index]], 0)
    if node.op_type == "Cast":
        to = ir.DataType(node.attributes["to"].as_int())
        return 2 if to is ir.DataType.BOOL or to.is_floating_point() else None
    return None


def _size(table: ir.Value | None, axis: int) -> int | None:
    tensor = table.const_value if table is not None else None
    shape = tensor.shape if tensor is not None else table.shape if table is not None else None
    if shape is None or not -len(shape) <= axis < len(shape):
        return None
    size = shape[axis]
    return size if isinstance(size, int) and size > 0 else None
