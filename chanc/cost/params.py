"""The trained parameters of a model: what training changes, each counted once, at its first user.

They are the float weights of the operators' specs (`chanc.ops`). Running statistics, shapes, scales of a resize,
one-element operands of arithmetic and masks that were computed from sizes are not parameters.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from chanc.cost.sizes import source
from chanc.ir.dtypes import FLOATS
from chanc.ir.initializers import COMPUTED
from chanc.ops import spec_of


def own_params(node: ir.Node, seen: set[tuple[str, str]]) -> tuple[int, ...]:
    """The inputs of a node that are parameters which no earlier node has claimed; its own are added to `seen`."""
    own = []
    for index, name, anchor in _parameters(node):
        if (name, anchor) not in seen:
            seen.add((name, anchor))
            own.append(index)
    return tuple(own)


def _weights(node: ir.Node) -> Iterator[tuple[int, str, ir.TensorProtocol]]:
    """Input, name and tensor of each weight of a node; a number that an operand of arithmetic holds is none."""
    spec = spec_of(node)
    for weight in spec.weights if spec is not None else ():
        value = node.inputs[weight.input] if weight.input < len(node.inputs) else None
        found = source(value) if value is not None and COMPUTED not in value.meta else None
        if found is None or weight.statistic or found[1].dtype not in FLOATS:
            continue
        if not (weight.arithmetic and found[1].size == 1):
            yield weight.input, *found


def _parameters(node: ir.Node) -> Iterator[tuple[int, str, str]]:
    """Input, name and anchor of each parameter of a node."""
    for index, name, tensor in _weights(node):
        yield index, name, _anchor(node, tensor)


def _anchor(node: ir.Node, tensor: ir.TensorProtocol) -> str:
    """What tells two uses of one tensor apart as two parameters, or the same for uses that are truly shared.

    Exporters let vectors of equal values (all ones, all zeros: an untrained BatchNorm) share one tensor. A vector
    belongs to the matrix that makes its data, so it is one parameter a matrix; other tensors count once a name.
    """
    if not _is_vector(tensor):
        return ""
    own = _matrix(node)
    if own:
        return own
    for value in node.inputs:
        if value is None or source(value) is not None:
            continue
        producer = value.producer()
        return (_matrix(producer) if producer is not None else "") or value.name or ""
    return ""


def _matrix(node: ir.Node) -> str:
    """The name of the first parameter of a node that is no vector, or ''."""
    return next((name for _, name, tensor in _weights(node) if not _is_vector(tensor)), "")


def _is_vector(tensor: ir.TensorProtocol) -> bool:
    return max(tensor.shape.numpy(), default=1) == tensor.size
