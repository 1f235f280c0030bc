"""LayerNormalization as (x - mean) / sqrt(mean((x - mean)^2) + epsilon), then times w plus b."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.transforms._edit import Array, content, float64, is_op
from chanc.transforms._norm import Norm, Tail, find_tail


def layer_norm(node: ir.Node) -> Norm | None:
    """The norm whose Div this node is; None where it is none."""
    root = _made_by(node, "Div", "Sqrt", side=1)
    total = _made_by(root, "Sqrt", "Add")
    centre = _made_by(node, "Div", "Sub")
    if node.op_type != "Div" or root is None or total is None or centre is None:
        return None
    epsilon, variance = _with_constant(total)
    square = _made_by(variance, "ReduceMean", "Pow") or _made_by(variance, "ReduceMean", "Mul")
    mean = _made_by(centre, "Sub", "ReduceMean", side=1)
    x = centre.inputs[0]
    if epsilon is None or variance is None or square is None or mean is None or x is None or mean.inputs[0] is not x:
        return None
    twin = _squared(square)
    if twin is None or not _same_difference(twin, centre):
        return None
    nodes = dict.fromkeys((node, root, total, variance, square, centre, twin, mean))
    axes = _trailing(mean, x)
    if axes is None or _trailing(variance, x) != axes or not _closed(nodes, node.outputs[0]):
        return None
    tail = find_tail(node.outputs[0])
    sizes = _sizes(x, tail, axes)
    weight, bias = _on_axes(tail.weight, sizes, 1.0), _on_axes(tail.bias, sizes, 0.0)
    if sizes is not None and (weight is None or bias is None):
        tail = Tail(node.outputs[0], None, None, ())
        weight, bias = _on_axes(None, sizes, 1.0), _on_axes(None, sizes, 0.0)
    attributes: dict[str, int | float] = {"axis": -axes, "epsilon": epsilon}
    return Norm("LayerNormalization", x, tail.output, weight, bias, attributes, tail.names, (*tail.nodes, *nodes))


def _sizes(x: ir.Value, tail: Tail, axes: int) -> tuple[int, ...] | None:
    """The sizes of the last axes: from the shape of x, or from the weight behind."""
    known = tuple(size for size in list(x.shape or ())[-axes:] if isinstance(size, int))
    if len(known) == axes:
        return known
    weight = content(tail.weight)
    return weight.shape if weight is not None and weight.ndim == axes and 1 not in weight.shape else None


def _made_by(node: ir.Node | None, op: str, maker: str, side: int = 0) -> ir.Node | None:
    """The node `maker` that made input `side` of a node `op`."""
    if node is None or not is_op(node, op):
        return None
    value = node.inputs[side]
    made = value.producer() if value is not None else None
    return made if made is not None and is_op(made, maker) else None


def _with_constant(total: ir.Node) -> tuple[float | None, ir.Node | None]:
    """Of an Add with a number: the number, and the node that made the other side."""
    for k in (0, 1):
        number, other = float64(total.inputs[k]), total.inputs[1 - k]
        if number is not None and number.size == 1 and other is not None:
            return float(number.reshape(())), other.producer()
    return None, None


def _squared(square: ir.Node) -> ir.Node | None:
    """The node whose result is squared."""
    one, other = square.inputs[:2]
    exponent = content(other)
    twice = one is other if square.op_type == "Mul" else exponent is not None and exponent.size == 1 and exponent == 2
    return one.producer() if one is not None and twice else None


def _same_difference(one: ir.Node, other: ir.Node) -> bool:
    return one is other or (is_op(one, "Sub") and tuple(one.inputs) == tuple(other.inputs))


def _trailing(mean: ir.Node, x: ir.Value) -> int | None:
    """Over how many last axes a ReduceMean goes; None where they are others, or it does not keep them."""
    if not mean.attributes.get_int("keepdims", 1):
        return None
    listed = content(mean.inputs[1]) if len(mean.inputs) > 1 else None
    axes = mean.attributes["axes"].as_ints() if "axes" in mean.attributes else listed
    if axes is None or not len(axes):
        return None
    rank = len(x.shape) if x.shape is not None else 0
    if rank == 0 and any(int(axis) >= 0 for axis in axes):
        return None
    found = sorted(int(axis) - rank if int(axis) >= 0 else int(axis) for axis in axes)
    return len(found) if found == list(range(-len(found), 0)) else None


def _closed(nodes: dict[ir.Node, None], output: ir.Value) -> bool:
    """Whether nothing but the pattern itself reads what is inside it."""
    inner = [value for node in nodes for value in node.outputs if value is not output]
    return all(not value.is_graph_output() and all(use.node in nodes for use in value.uses()) for value in inner)


def _on_axes(value: ir.Value | None, sizes: tuple[int, ...] | None, default: float) -> Array | None:
    """A constant as an array of the normalised axes' sizes; None where it has others, or they are not known."""
    array = float64(value) if value is not None else np.full((), default)
    if array is None or sizes is None or array.ndim > len(sizes):
        return None
    aligned = zip(reversed(array.shape), reversed(sizes), strict=False)
    return np.broadcast_to(array, sizes) if all(have in (1, want) for have, want in aligned) else None
