"""The trained parameters of a model: what training changes, each counted once, at its first user.

They are the weights of the operators' specs (`chanc.ops`), those that were quantised to integers among them. Running
statistics, shapes, scales of a resize, one-element operands of arithmetic and masks that were computed from sizes are
not parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from chanc.cost.sizes import source
from chanc.ir.dtypes import FLOATS, QUANTISED
from chanc.ir.initializers import COMPUTED
from chanc.ir.nodes import carried, nodes_of
from chanc.ops import spec_of

Entering = Mapping[ir.Value, ir.Value]
"""What enters a loop's body unchanged in every turn: the body's input, and the outer value."""


def entering(graph: ir.Graph) -> Entering:
    """The loop-carried weights of a graph's bodies, at any depth."""
    found: dict[ir.Value, ir.Value] = {}
    for node in nodes_of(graph):
        for index, inner, same in carried(node):
            outer = node.inputs[index]
            if same and outer is not None:
                found[inner] = found.get(outer, outer)
    return found


def own_params(node: ir.Node, seen: set[tuple[str, str]], inside: Entering) -> tuple[int, ...]:
    """The inputs of a node that are parameters which no earlier node has claimed; its own are added to `seen`.

    `inside` are those of `entering`.
    """
    own = []
    for index, name, anchor in _parameters(node, inside):
        if (name, anchor) not in seen:
            seen.add((name, anchor))
            own.append(index)
    return tuple(own)


def _weights(node: ir.Node, inside: Entering) -> Iterator[tuple[int, str, ir.TensorProtocol]]:
    """Input, name and tensor of each weight of a node; a number that an operand of arithmetic holds is none."""
    spec = spec_of(node)
    for weight in spec.weights if spec is not None else ():
        value = node.inputs[weight.input] if weight.input < len(node.inputs) else None
        found = source(inside.get(value, value)) if value is not None and COMPUTED not in value.meta else None
        if found is None or weight.statistic or not _trained(found[1], value):
            continue
        if not (weight.arithmetic and found[1].size == 1):
            yield weight.input, *found


def _trained(tensor: ir.TensorProtocol, value: ir.Value | None) -> bool:
    """Whether a weight is of a type in which it was trained, or to which it was quantised; others are indices."""
    if tensor.dtype in FLOATS or tensor.dtype in QUANTISED:
        return True
    maker = value.producer() if value is not None else None
    return tensor.dtype == ir.DataType.INT32 and maker is not None and maker.op_type == "DequantizeLinear"


def _parameters(node: ir.Node, inside: Entering) -> Iterator[tuple[int, str, str]]:
    """Input, name and anchor of each parameter of a node."""
    for index, name, tensor in _weights(node, inside):
        yield index, name, _anchor(node, tensor, inside)


def _anchor(node: ir.Node, tensor: ir.TensorProtocol, inside: Entering) -> str:
    """What tells two uses of one tensor apart as two parameters, or the same for uses that are truly shared.

    Exporters let vectors of equal values (all ones, all zeros: an untrained BatchNorm) share one tensor. A vector
    belongs to the matrix that makes its data, so it is one parameter a matrix; other tensors count once a name.
    """
    if not _is_vector(tensor):
        return ""
    own = _matrix(node, inside)
    if own:
        return own
    for value in node.inputs:
        if value is None or source(value) is not None:
            continue
        producer = value.producer()
        return (_matrix(producer, inside) if producer is not None else "") or value.name or ""
    return ""


def _matrix(node: ir.Node, inside: Entering) -> str:
    """The name of the first parameter of a node that is no vector, or ''."""
    return next((name for _, name, tensor in _weights(node, inside) if not _is_vector(tensor)), "")


def _is_vector(tensor: ir.TensorProtocol) -> bool:
    return max(tensor.shape.numpy(), default=1) == tensor.size
