"""Constant folding while emitting: a node whose inputs are all known and none of them trains is computed at once.

The reference implementation of the operators (onnx.reference) does the computing, so every opset is right.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from chanc.backends.torch.node import Node
from chanc.backends.torch.values import Values
from chanc.ops import Trait, has

_NEVER = frozenset(["Constant", "Identity", "If", "Loop", "Scan", "Dropout", "BatchNormalization"])
_LIMIT = 1 << 24


def fold(values: Values, node: Node) -> bool:
    """Compute the node's outputs where that is possible; says whether it did."""
    if node.op in _NEVER or has(node.raw, Trait.RANDOM) or node.raw.domain not in ("", "ai.onnx"):
        return False
    arrays: dict[str, np.ndarray] = {}
    for value in node.inputs:
        if value is None:
            continue
        array = values.frozen(value)
        if array is None or array.size > _LIMIT or array.dtype.kind not in "iubf":
            return False
        arrays[value.name or ""] = array
    if (not arrays and node.raw.inputs) or not onnx.defs.has(node.op):
        return False
    if node.op in ("ConstantOfShape", "Expand", "Range", "Tile") and _too_big(node, arrays):
        return False
    results = _evaluate(values, node, arrays)
    if results is None or not all(isinstance(result, np.ndarray | np.generic) for result in results):
        return False  # not known to the reference implementation, or a sequence
    for value, array in zip(node.outputs, results, strict=True):
        values.set_const(value, np.asarray(array))
    return True


def _too_big(node: Node, arrays: dict[str, np.ndarray]) -> bool:
    if node.op == "Range":
        start, limit, delta = (float(array.reshape(())) for array in arrays.values()) if len(arrays) == 3 else (0, 0, 1)
        return abs((limit - start) / delta) > _LIMIT
    sizes = next(
        array
        for value in node.inputs[-1:]
        for name, array in arrays.items()
        if value is not None and name == value.name
    )
    return bool(np.prod(sizes.astype(np.float64)) > _LIMIT)


def _evaluate(values: Values, node: Node, arrays: dict[str, np.ndarray]) -> list[np.ndarray] | None:
    """The node's outputs; None where the reference implementation has no such operator or version."""
    from onnx.reference import ReferenceEvaluator

    proto = ir.serde.serialize_node(node.raw)
    outputs = [name for name in proto.output if name]
    untyped = [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in outputs]
    feeds = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in arrays.items()
    ]
    graph = onnx.helper.make_graph([proto], "fold", feeds, untyped)
    opsets = [onnx.helper.make_opsetid("", values.opsets.get("", 1))]
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    try:
        evaluator = ReferenceEvaluator(model)
    except (RuntimeError, NotImplementedError, ValueError):  # what it says of a version that it lacks
        return None
    with np.errstate(all="ignore"):
        results = dict(zip(outputs, evaluator.run(None, arrays), strict=True))
    return [results.get(value.name or "", np.zeros(())) for value in node.outputs]
