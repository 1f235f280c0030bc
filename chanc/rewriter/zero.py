"""What a stored 0 is in a quantised tensor: its zero point, which an unsigned one seldom has at 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.ops import reader, weight_of
from chanc.ops.quantize import zero_point

Array = NDArray[np.generic]


def stored_zero(
    shape: Sequence[int], node: ir.Node, index: int, content: Callable[[ir.Value], Array | None]
) -> Array | None:
    """The values that stand for 0 in a constant of that shape that a node reads; None where all are 0.

    `content` gives what a zero point holds, None where it is computed.
    """
    read = reader(node, index, len(shape))
    point = zero_point(read.node, read.input)
    array = content(point) if point is not None else None
    if array is None or read.order is None or not np.any(array != 0):
        return None
    seen = tuple(shape[axis] for axis in read.order)
    whole = _spread(array, read.node, read.input, seen)
    return np.transpose(np.broadcast_to(whole, seen), np.argsort(read.order))


def _spread(array: Array, node: ir.Node, index: int, shape: tuple[int, ...]) -> Array:
    """A zero point, one for all, one a position of an axis or one a block, so that it broadcasts to that shape."""
    if array.size == 1:
        return array.reshape(())
    weight = weight_of(node, index)
    given = node.attributes.get("axis")
    axis = weight.makes(node.attributes, len(shape))[0] if weight else 1 if given is None else given.as_int()
    if node.op_type == "DynamicQuantizeLSTM":
        return array.reshape(shape[0], 1, -1)
    if array.ndim > 1:
        block = -(-shape[axis] // array.shape[axis])
        return np.repeat(array, block, axis=axis)[tuple(map(slice, shape))]
    return array.reshape([-1 if k == axis % len(shape) else 1 for k in range(len(shape))])
