"""Shapes and types of every value: ONNX's own inference, completed by the analysis where shape chains stop it.

A shape that the model declares and that contradicts what is inferred is stale, and is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir

from chanc.analysis.body_functions import BodyFunctions
from chanc.analysis.dims import Size
from chanc.analysis.findings import Findings
from chanc.analysis.run import visit_model
from chanc.boundary import boundary
from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import bodies, nodes_of

BIG = 1 << 12


@boundary("shape inference")
def infer_shapes(model: ir.Model, findings: Findings | None = None) -> bool:
    """Fill in shapes and types, in place; a dynamic axis gets a name. Says whether any was missing.

    Findings on the model save making them.
    """
    inferred = {info.name: info for info in _onnx_inference(model)}
    findings = findings if findings is not None else visit_model(model)
    changed = False
    for node in nodes_of(model.graph):
        for value in node.outputs:
            before = (value.type, value.shape)
            info = inferred.get(value.name or "")
            if info is not None:
                _adopt(value, info)
            layout = findings.layouts.get(value)
            if layout is not None and (not _known(value.shape) or _contradict(value.shape, layout.sizes)):
                value.shape = ir.Shape([_named(n) for n in layout.sizes])
            changed |= before != (value.type, value.shape)
    return changed


def _named(size: Size) -> int | str | None:
    """A size as ONNX writes it: an integer, the name of a dynamic axis, or nothing for an expression."""
    if isinstance(size, int):
        return size
    plain = size.factor == 1 and len(size.atoms) == 1 and size.atoms[0].isidentifier()
    return size.atoms[0] if plain else None


def _known(shape: ir.Shape | None) -> bool:
    return shape is not None and all(isinstance(n, int) for n in shape)


def _adopt(value: ir.Value, info: onnx.ValueInfoProto) -> None:
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type"):
        return
    if value.type is None and tensor.elem_type:
        value.type = ir.TensorType(ir.DataType(tensor.elem_type))
    if tensor.HasField("shape"):
        sizes = [d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in tensor.shape.dim]
        if _contradict(value.shape, sizes):
            value.shape = ir.Shape(sizes)


def _contradict(declared: ir.Shape | None, found: Sequence[object]) -> bool:
    """Whether nothing is declared, or another rank, or another number for an axis."""
    if declared is None or len(declared) != len(found):
        return True
    pairs = zip(declared, found, strict=True)
    return any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)


def _onnx_inference(model: ir.Model) -> list[onnx.ValueInfoProto]:
    """What onnx infers on a copy of the graph in which big initializers are inputs, so that nothing large is copied."""
    proto = _skeleton(model)
    try:
        result = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return []
    return list(result.graph.value_info)


def _skeleton(model: ir.Model) -> onnx.ModelProto:
    proto = onnx.ModelProto(ir_version=model.ir_version, graph=onnx.GraphProto(name="skeleton"))
    for domain, version in model.opset_imports.items():
        proto.opset_import.append(onnx.helper.make_opsetid(domain, version))
    graph, call = proto.graph, BodyFunctions(proto)
    for node in model.graph:
        made = ir.serde.serialize_node(node)
        graph.node.append(call(node, made) if bodies(node) else made)
    for value in model.graph.inputs:
        info = ir.serde.serialize_value(value)
        for dim in info.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value <= 0:
                dim.ClearField("dim_value")
        graph.input.append(info)
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None:
            continue
        if tensor.size <= BIG:
            graph.initializer.append(ir.serde.serialize_tensor(tensor))
            graph.initializer[-1].name = value.name or ""
        elif value not in model.graph.inputs:
            shape = constant_shape(value)
            graph.input.append(onnx.helper.make_tensor_value_info(value.name or "", int(tensor.dtype), shape))
    return proto
