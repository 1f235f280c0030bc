"""The trained parameters of a node: what training changes, each counted once.

They are the float weights and biases of the operators in `_PARAMETERS`. Running statistics, shapes, scales of a resize
and one-element operands of arithmetic are not parameters.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from chanc.cost.values import source

NORMS = frozenset({"BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization"})
_PARAMETERS: dict[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "FusedConv": (1, 2),
    "Gemm": (0, 1, 2),
    "FusedGemm": (0, 1, 2),
    "FusedMatMul": (0, 1),
    "BiasGelu": (1,),
    "FastGelu": (1,),
    "SkipLayerNormalization": (2, 3, 4),
    "MatMul": (0, 1),
    "Einsum": (0, 1, 2),
    "Gather": (0,),
    "PRelu": (1,),
    "Add": (0, 1),
    "Sub": (0, 1),
    "Mul": (0, 1),
    "Div": (0, 1),
    "Concat": (0, 1),
    "Expand": (0,),
    "LSTM": (1, 2, 3, 7),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
} | dict.fromkeys(NORMS, (1, 2))
_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div", "Gather", "Concat", "Expand"})


def own_params(node: ir.Node, seen: set[tuple[str, str]]) -> int:
    """Elements of the node's parameters that no earlier node has claimed; its own are added to `seen`."""
    total = 0
    for name, size, anchor in _parameters(node):
        if (name, anchor) not in seen:
            seen.add((name, anchor))
            total += size
    return total


def _parameters(node: ir.Node) -> Iterator[tuple[str, int, str]]:
    """Name, number of elements and anchor of each parameter of a node."""
    for index in _PARAMETERS.get(node.op_type, ()):
        tensor = source(node.inputs[index]) if index < len(node.inputs) else None
        if tensor is None or tensor.tensor.dtype not in _FLOATS:
            continue
        if node.op_type in _ARITHMETIC and tensor.tensor.size == 1:
            continue
        yield tensor.name, tensor.tensor.size, _anchor(node, tensor.tensor)


def _anchor(node: ir.Node, tensor: ir.TensorProtocol) -> str:
    """What tells two uses of one tensor apart as two parameters, or the same for uses that are truly shared.

    Exporters let vectors of equal values (all ones, all zeros: an untrained BatchNorm) share one tensor. A vector
    belongs to the matrix that makes its data, so it is one parameter a matrix; other tensors count once a name.
    """
    if max(tensor.shape.numpy(), default=1) != tensor.size:
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
    for index in _PARAMETERS.get(node.op_type, ()):
        tensor = source(node.inputs[index]) if index < len(node.inputs) else None
        if tensor is not None and max(tensor.tensor.shape.numpy(), default=1) != tensor.tensor.size:
            return tensor.name
    return ""
