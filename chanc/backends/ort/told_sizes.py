"""What a graph tells of the open sizes of its inputs: by the weights that read them, and by the numbers that it holds.

An exporter that traces a network writes the lengths that it saw into targets of Reshape and Expand, and into tables of
positions; a network may run at these alone.
"""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import nodes_of
from chanc.ops import Trait, channels_taken, has, weight_of

Taken = list[int | None]
"""The size of each axis that what reads a tensor takes; None where it takes any."""

_FAR = 32
"""Operators between an input and what tells its sizes."""
_SHORT = 16
"""Entries of a vector that may be a target of a Reshape."""
_LARGEST = 4096
MOST = 16
"""Lengths that are worth a try."""


def taken(value: ir.Value) -> Taken | None:
    """The sizes that what reads a value takes, through Transposes and operators that keep the axes apart.

    None where nothing tells even their number.
    """
    return _taken(value, _FAR, {})


def _taken(value: ir.Value, far: int, known: dict[ir.Value, Taken | None]) -> Taken | None:
    if value not in known:
        known[value] = None
        for node, index in value.uses() if far else ():
            one, found = _taken_by(node, index, far - 1, known), known[value]
            if one is not None and (found is None or len(one) == len(found)):
                known[value] = one if found is None else [a or b for a, b in zip(found, one, strict=True)]
    return known[value]


def _taken_by(node: ir.Node, index: int, far: int, known: dict[ir.Value, Taken | None]) -> Taken | None:
    if node.op_type == "Transpose" and not node.domain:
        return _turned(node, _taken(node.outputs[0], far, known))
    if index == 0 and len(node.inputs) > 1 and has(node, Trait.CONVOLUTION, Trait.LINEAR):
        return _by_weight(node, node.inputs[1], _taken(node.outputs[0], far, known))
    if not has(node, Trait.ELEMENTWISE, Trait.CHANNELWISE):
        return None
    behind = _taken(node.outputs[0], far, known)
    if behind is None or has(node, Trait.ELEMENTWISE):
        return behind
    return [size if axis == 1 else None for axis, size in enumerate(behind)]


def _by_weight(node: ir.Node, matrix: ir.Value | None, behind: Taken | None) -> Taken | None:
    """The sizes that a convolution or a product takes of its first input; `behind` are those taken of its output."""
    weight, shape = weight_of(node, 1), constant_shape(matrix) if matrix is not None else ()
    if weight is None or len(shape) < 2:
        return None
    channels = channels_taken(weight, node.attributes, shape)
    if weight.kernel:
        return [None, channels, *(None for _ in shape[2:])]
    told = next((known for known in (node.inputs[0], node.outputs[0]) if known is not None and known.shape), None)
    rank = len(told.shape or ()) if told is not None else len(behind or (0, 0))
    place = rank - 1 - node.attributes.get_int("transA", 0)
    return [channels if axis == place else None for axis in range(rank)]


def _turned(node: ir.Node, behind: Taken | None) -> Taken | None:
    """The sizes before a Transpose, of which `behind` are those after it."""
    given = node.attributes.get("perm")
    if given is None:
        return None if behind is None else behind[::-1]
    order = given.as_ints()
    before: Taken = [None] * len(order)
    for axis, size in zip(order, behind, strict=False) if behind is not None else ():
        before[axis] = size
    return before


def lengths(graph: ir.Graph) -> list[int]:
    """Lengths at which a graph in normal form may have been traced, the likeliest first.

    These are the entries of small vectors of integers, then the lengths of tables and matrices.
    """
    targets, tables = Counter[int](), Counter[int]()
    for node in nodes_of(graph):
        for value in node.inputs:
            tensor = value.const_value if value is not None else None
            if tensor is None or has(node, Trait.CONVOLUTION):
                continue
            if tensor.dtype in (ir.DataType.INT64, ir.DataType.INT32) and tensor.size <= _SHORT:
                targets.update(set(tensor.numpy().ravel().tolist()))
            elif len(tensor.shape) > 1:
                tables.update(set(tensor.shape.numpy()))
    found = dict.fromkeys(size for counter in (targets, tables) for size, _ in counter.most_common())
    return [size for size in found if 1 < size <= _LARGEST][:MOST]
