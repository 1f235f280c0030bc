"""LayerNormalization as (x - mean) / sqrt(variance + epsilon), then times w plus b.

The variance is mean((x - mean)^2), or mean(x^2) - mean^2 as JAX has it, maybe held above 0; the quotient may be written
as a product with 1 / sqrt(...), into which w may have been multiplied first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from chanc.transforms._edit import Array, content, float64, is_op
from chanc.transforms._norm import Norm, Tail, find_tail


class Quotient(NamedTuple):
    """A centred tensor over a root, times a gain where there is one; and the nodes between, last first."""

    centre: ir.Node
    root: ir.Node
    gain: ir.Value | None
    nodes: tuple[ir.Node, ...]


def layer_norm(node: ir.Node) -> Norm | None:
    """The norm whose Div, or Mul, this node is; None where it is none."""
    quotient = _quotient(node)
    total = _made_by(quotient.root, "Sqrt", "Add") if quotient is not None else None
    if quotient is None or total is None:
        return None
    centre, x = quotient.centre, quotient.centre.inputs[0]
    epsilon, variance = _with_constant(total)
    mean = _made_by(centre, "Sub", "ReduceMean", side=1)
    if epsilon is None or variance is None or mean is None or x is None or mean.inputs[0] is not x:
        return None
    spread = _by_deviations(variance, centre) or _by_moments(variance, mean, x)
    if spread is None:
        return None
    nodes = dict.fromkeys((*quotient.nodes, total, *spread, centre, mean))
    means = [inner for inner in nodes if is_op(inner, "ReduceMean")]
    axes = _trailing(mean, x)
    if axes is None or any(_trailing(one, x) != axes for one in means) or not _closed(nodes, node.outputs[0]):
        return None
    tail = find_tail(node.outputs[0])
    if quotient.gain is not None:
        if tail.weight is not None:
            return None
        tail = replace(tail, weight=quotient.gain)
    sizes = _sizes(x, tail, axes)
    weight, bias = _on_axes(tail.weight, sizes, 1.0), _on_axes(tail.bias, sizes, 0.0)
    if sizes is not None and (weight is None or bias is None):
        if quotient.gain is not None:
            return None
        tail = Tail(node.outputs[0], None, None, ())
        weight, bias = _on_axes(None, sizes, 1.0), _on_axes(None, sizes, 0.0)
    attributes: dict[str, int | float] = {"axis": -axes, "epsilon": epsilon}
    return Norm("LayerNormalization", x, tail.output, weight, bias, attributes, tail.names, (*tail.nodes, *nodes))


def _quotient(node: ir.Node) -> Quotient | None:
    root, centre = _made_by(node, "Div", "Sqrt", side=1), _made_by(node, "Div", "Sub")
    if root is not None and centre is not None:
        return Quotient(centre, root, None, (node, root))
    for side in (0, 1):
        centre, factor = _made_by(node, "Mul", "Sub", side), node.inputs[1 - side] if len(node.inputs) == 2 else None
        inverse = factor.producer() if factor is not None else None
        if centre is None or inverse is None:
            continue
        gain, nodes = None, [node, inverse]
        if is_op(inverse, "Mul"):
            gain, inverse = _gain(inverse)
            nodes += [inverse] if inverse is not None else []
        root = _inverted(inverse)
        if root is not None:
            return Quotient(centre, root, gain, (*nodes, root))
    return None


def _gain(product: ir.Node) -> tuple[ir.Value | None, ir.Node | None]:
    """Of a product with a constant: the constant, and the node that made the other factor."""
    for k in (0, 1):
        constant, other = product.inputs[k], product.inputs[1 - k]
        if content(constant) is not None and other is not None:
            return constant, other.producer()
    return None, None


def _inverted(node: ir.Node | None) -> ir.Node | None:
    """The Sqrt of which a node makes the inverse."""
    if is_op(node, "Div") and node is not None:
        one = float64(node.inputs[0])
        return _made_by(node, "Div", "Sqrt", side=1) if one is not None and one.size == 1 and one == 1 else None
    return _made_by(node, "Reciprocal", "Sqrt")


def _by_deviations(variance: ir.Node, centre: ir.Node) -> tuple[ir.Node, ...] | None:
    """The nodes of mean((x - mean)^2)."""
    square = _made_by(variance, "ReduceMean", "Pow") or _made_by(variance, "ReduceMean", "Mul")
    squared = _squared(square) if square is not None else None
    twin = squared.producer() if squared is not None else None
    if square is None or twin is None or not _same_difference(twin, centre):
        return None
    return (variance, square, twin)


def _by_moments(variance: ir.Node, mean: ir.Node, x: ir.Value) -> tuple[ir.Node, ...] | None:
    """The nodes of mean(x^2) - mean^2, a bound of 0 among them."""
    bound: tuple[ir.Node, ...] = ()
    if is_op(variance, "Max", "Relu"):
        values = [value for value in variance.inputs if value is not None and content(value) is None]
        limits = [content(value) for value in variance.inputs if value is not None and content(value) is not None]
        inner = values[0].producer() if len(values) == 1 else None
        if inner is None or any(limit is None or limit.size != 1 or limit != 0 for limit in limits):
            return None
        bound, variance = (variance,), inner
    moment, away = _made_by(variance, "Sub", "ReduceMean"), variance.inputs[1] if len(variance.inputs) > 1 else None
    square, power = moment.inputs[0] if moment is not None else None, away.producer() if away is not None else None
    inner = square.producer() if square is not None else None
    if moment is None or inner is None or power is None or _squared(inner) is not x:
        return None
    return (*bound, variance, moment, inner, power) if _squared(power) is mean.outputs[0] else None


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


def _squared(square: ir.Node) -> ir.Value | None:
    """What a Mul or Pow squares."""
    if not is_op(square, "Mul", "Pow"):
        return None
    one, other = square.inputs[:2]
    exponent = content(other)
    twice = one is other if square.op_type == "Mul" else exponent is not None and exponent.size == 1 and exponent == 2
    return one if one is not None and twice else None


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
