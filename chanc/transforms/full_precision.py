"""A graph that computes in float16 or bfloat16 computed in float32: master copies of its weights, for training."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.ir.nodes import nodes_of

HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_TYPES = ("to", "dtype", "output_dtype")
"""Attributes that name the type of what a node makes."""


def full_precision(model: ir.Model) -> bool:
    """Compute, in place, in float32 whatever was in half precision; inputs and outputs too. Says whether anything was.

    Names stay, so that trained values find their way back into the model in half precision.
    """
    changed = False
    for graph in model.graphs():
        for value in (*graph.inputs, *graph.initializers.values()):
            changed |= _widen(value)
    for node in nodes_of(model.graph):
        for value in node.outputs:
            changed |= _widen(value)
        for attribute in list(node.attributes.values()):
            changed |= _widen_attribute(node, attribute)
    return changed


def _widen(value: ir.Value) -> bool:
    half = value.dtype in HALVES
    if half:
        value.type = ir.TensorType(ir.DataType.FLOAT)
    if value.const_value is not None and value.const_value.dtype in HALVES:
        value.const_value = _widened(value.const_value)
        half = True
    return half


def _widen_attribute(node: ir.Node, attribute: ir.Attr) -> bool:
    if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in HALVES:
        node.attributes.add(ir.AttrTensor(attribute.name, _widened(attribute.as_tensor())))
        return True
    if attribute.name in _TYPES and attribute.type == ir.AttributeType.INT and attribute.as_int() in HALVES:
        node.attributes.add(ir.AttrInt64(attribute.name, int(ir.DataType.FLOAT)))
        return True
    return False


def _widened(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.Tensor(np.asarray(tensor.numpy()).astype(np.float32), name=tensor.name)
