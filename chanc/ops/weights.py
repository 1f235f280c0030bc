"""What is asked of the weights of a node: which one an input is, who reads it, how many channels it makes and takes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import onnx_ir as ir

from chanc.ops.spec import Attributes, Trait, Weight
from chanc.ops.table import has, spec_of


class Reader(NamedTuple):
    """The node that reads a tensor in the end, which input the tensor is, and its axes in their order there.

    `order` is None where a Reshape lies between, so that axes have no counterparts.
    """

    node: ir.Node
    input: int
    order: tuple[int, ...] | None


def weight_of(node: ir.Node, index: int) -> Weight | None:
    """The weight that an input of a node may be, or None."""
    spec = spec_of(node)
    return next((weight for weight in spec.weights if weight.input == index), None) if spec is not None else None


def reader(node: ir.Node, index: int, rank: int, *through: Trait) -> Reader:
    """Who reads a tensor of that rank behind any Transpose and Identity, and behind operators of the kinds named."""
    order: tuple[int, ...] | None = tuple(range(rank))
    while _is_passed(node, index, through) and node.outputs[0].uses():
        if node.op_type == "Transpose" and order is not None:
            given = node.attributes.get("perm")
            turned = range(rank)[::-1] if given is None else given.as_ints()
            order = tuple(order[axis] for axis in turned)
        elif node.op_type != "Identity" and has(node, Trait.VIEW):
            order = None
        node, index = next(iter(node.outputs[0].uses()))
    return Reader(node, index, order)


def channels_made(weight: Weight, attributes: Attributes, shape: Sequence[int]) -> int:
    """How many channels a weight of that shape makes, over all groups."""
    return _channels(weight, attributes, shape, weight.makes(attributes, len(shape)))


def channels_taken(weight: Weight, attributes: Attributes, shape: Sequence[int]) -> int:
    """How many channels a weight of that shape reads, over all groups."""
    return _channels(weight, attributes, shape, weight.takes(attributes, len(shape)))


def fan_in(weight: Weight, attributes: Attributes, shape: Sequence[int]) -> int:
    """How many products are summed for one element of what a weight of that shape makes."""
    taken = channels_taken(weight, attributes, shape)
    return taken // groups(attributes) * prod(shape[2:]) if weight.kernel else taken


def groups(attributes: Attributes) -> int:
    """The number of groups of a convolution."""
    given = attributes.get("group")
    return given.as_int() if given is not None else 1


def _channels(weight: Weight, attributes: Attributes, shape: Sequence[int], axes: tuple[int, ...]) -> int:
    each = groups(attributes) if weight.kernel and 1 in axes else 1
    return prod(shape[axis] for axis in axes) * each


def _is_passed(node: ir.Node, index: int, through: tuple[Trait, ...]) -> bool:
    if node.domain in ("", "ai.onnx") and node.op_type in ("Transpose", "Identity"):
        return True
    return index == 0 and has(node, *through)
