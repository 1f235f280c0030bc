"""A model in another float type: halves in single, or all in double."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.ir.names import values_of
from chanc.ir.nodes import nodes_of, subgraphs

HALVES = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
NARROW = HALVES | {ir.DataType.FLOAT}

_TYPES = ("to", "dtype", "output_dtype")
"""Attributes that name the element type of an output."""


def recast(model: ir.Model, narrow: frozenset[ir.DataType], wide: ir.DataType) -> ir.Model:
    """Every value, constant and cast of the `narrow` types made `wide`; the model itself, changed."""
    values = [value for scope in (model.graph, *subgraphs(model.graph)) for value in values_of(scope)]
    values += model.graph.initializers.values()
    for value in values:
        if value.dtype in narrow:
            value.type = ir.TensorType(wide)
        if value.const_value is not None and value.const_value.dtype in narrow:
            value.const_value = _cast(value.const_value, wide)
    for node in nodes_of(model.graph):
        for attribute in list(node.attributes.values()):
            _recast(node, attribute, narrow, wide)
        if node.op_type == "ConstantOfShape" and "value" not in node.attributes and ir.DataType.FLOAT in narrow:
            node.attributes["value"] = ir.AttrTensor("value", ir.Tensor(np.zeros(1, wide.numpy())))
    return model


def _recast(node: ir.Node, attribute: ir.Attr, narrow: frozenset[ir.DataType], wide: ir.DataType) -> None:
    name, kind = attribute.name, attribute.type
    if kind == ir.AttributeType.INT and name in _TYPES and attribute.as_int() in narrow:
        node.attributes[name] = ir.AttrInt64(name, wide)
    elif kind == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in narrow:
        node.attributes[name] = ir.AttrTensor(name, _cast(attribute.as_tensor(), wide))
    elif name in ("value_float", "value_floats") and ir.DataType.FLOAT in narrow:
        del node.attributes[name]
        node.attributes["value"] = ir.AttrTensor("value", ir.Tensor(np.asarray(attribute.value, wide.numpy())))


def _cast(tensor: ir.TensorProtocol, wide: ir.DataType) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy().astype(wide.numpy()), name=tensor.name)
