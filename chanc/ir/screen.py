"""What `load` refuses at the door, before or beside the rules of a legal graph: each with one clear line."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import onnx
import onnx_ir as ir

from chanc.errors import ModelError
from chanc.ir.nodes import subgraphs

OPSETS = range(7, 27)
"""Versions of the default operator set that chanc carries."""

_RAW_TYPES = {kind.value: kind for kind in ir.DataType if kind not in (ir.DataType.UNDEFINED, ir.DataType.STRING)}
_MAGIC = {
    b"version https://git-lfs": "a Git LFS pointer, not the model itself (run `git lfs pull`)",
    b"PK\x03\x04": "a zip archive, not an ONNX model (a PyTorch checkpoint is one; export it first)",
    b"\x1f\x8b": "gzip-compressed: unpack it first",
    b"\x89HDF": "an HDF5 file, not an ONNX model",
}
_HELD = {onnx.AttributeProto.TENSOR: "t", onnx.AttributeProto.GRAPH: "g"}
"""Fields of attributes that may be left out, and then hold nothing."""

_SPARSE = (onnx.AttributeProto.SPARSE_TENSOR, onnx.AttributeProto.SPARSE_TENSORS)
_SNIFF_BYTES = 512
_FIELD_OF = {
    ir.DataType.FLOAT: "float_data",
    ir.DataType.COMPLEX64: "float_data",
    ir.DataType.DOUBLE: "double_data",
    ir.DataType.COMPLEX128: "double_data",
    ir.DataType.INT64: "int64_data",
    ir.DataType.UINT64: "uint64_data",
    ir.DataType.UINT32: "uint64_data",
}
_DATA_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def magic(buffer: memoryview, name: str) -> None:
    """Refuse files that are plainly something else. Raises: ModelError."""
    head = bytes(buffer[:_SNIFF_BYTES])
    if not head:
        raise ModelError(f"{name}: the file is empty")
    for start, what in _MAGIC.items():
        if head.startswith(start):
            raise ModelError(f"{name}: {what}")
    if not head.translate(None, bytes(range(32, 127)) + b"\t\r\n"):
        raise ModelError(f"{name}: a text file, not an ONNX model")


def proto(model: onnx.ModelProto, name: str) -> None:
    """Refuse messages that are no model, and fields that would be lost on the way. Raises: ModelError."""
    if not model.HasField("graph") or not model.ir_version:
        missing = "graph" if not model.HasField("graph") else "ir_version"
        raise ModelError(f"{name}: not an ONNX model: it has no {missing}")
    domains = [entry.domain for entry in model.opset_import]
    _unique(domains, f"{name}: opset imported twice")
    opsets({entry.domain: entry.version for entry in model.opset_import}, name)
    if model.training_info:
        raise ModelError(f"{name}: holds training_info (a training graph), which chanc does not carry")
    _graph(model.graph, name)
    for function in model.functions:
        _nodes(function.node, f"{name}: function {function.name!r}")


def opsets(imports: Mapping[str, int], name: str) -> None:
    """Refuse models without a version of the standard operators, or with one out of range. Raises: ModelError."""
    if not imports:
        raise ModelError(f"{name}: not a whole ONNX model: it imports no operator set")
    for domain in ("", "ai.onnx"):
        version = imports.get(domain)
        if version is not None and version not in OPSETS:
            raise ModelError(
                f"{name}: opset {version} is not supported, only {OPSETS.start} to {OPSETS.stop - 1}: "
                "convert it (onnx.version_converter) or export it again"
            )


def dtype(value: int, tensor: str, name: str) -> ir.DataType:
    """The element type of a tensor. Raises: ModelError for a number that is none."""
    kind = _RAW_TYPES.get(value)
    if kind is None:
        raise ModelError(f"{name}: tensor {tensor!r} has raw data of no known element type ({value})")
    return kind


NodeList = ir.Graph | ir.Function


def bodies(model: ir.Model) -> list[NodeList]:
    """Every list of nodes in the model: graph, functions, and the subgraphs of both."""
    found: list[NodeList] = [model.graph, *subgraphs(model.graph)]
    for function in model.functions.values():
        found += [function, *subgraphs(function)]
    return found


def text(model: ir.Model, graphs: Iterable[NodeList], name: str) -> None:
    """Refuse strings that are not UTF-8 (protobuf hands them out as bytes). Raises: ModelError.

    graphs: the model's, as `bodies` finds them.
    """
    for graph in graphs:
        strings: list[object] = [graph.name, graph.doc_string, *_entries(graph.metadata_props)]
        for node in graph:
            strings += [node.name, node.domain, node.op_type, node.doc_string, *node.attributes]
            strings += _entries(node.metadata_props)
            strings += [value.name for value in node.outputs]
        strings += [value.name for value in graph.inputs]
        _utf8(strings, name)
    _utf8([model.producer_name, model.producer_version, model.domain, model.doc_string], name)
    _utf8([*_entries(model.metadata_props), *model.opset_imports], name)


def tensors(graphs: Iterable[NodeList], name: str) -> None:
    """Refuse tensors in protobuf messages whose data doesn't fit their shape. Raises: ModelError."""
    for graph in graphs:
        if isinstance(graph, ir.Graph):
            for value in graph.initializers.values():
                _data(value.const_value, name)
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    _data(attribute.value, name)


def described_initializers(graph: onnx.GraphProto) -> set[str]:
    """Names of the initializers, here and in subgraphs, that have a value_info too."""
    found = {value.name for value in graph.value_info}.intersection(tensor.name for tensor in graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found |= described_initializers(attribute.g)
    return found


def no_data(tensor: object) -> bool:
    """Whether a tensor's message has a shape but no values at all, as in files with their weights stripped."""
    return (
        type(tensor) is ir.TensorProtoTensor  # not isinstance, which asks another kind for all methods of a tensor
        and not tensor.raw.HasField("raw_data")
        and tensor.size > 0
        and not any(len(getattr(tensor.raw, field)) for field in _DATA_FIELDS)
    )


def _data(tensor: object, name: str) -> None:
    """Values must be in the field of their element type, as many as the shape says (onnx.proto, TensorProto)."""
    if type(tensor) is not ir.TensorProtoTensor or no_data(tensor):
        return
    message = tensor.raw
    kind = dtype(message.data_type, tensor.name, name)
    count = math.prod(message.dims)
    expected = -(-count * kind.bitwidth // 8)
    if message.HasField("raw_data"):
        held = len(message.raw_data)
    else:
        held = len(getattr(message, _FIELD_OF.get(kind, "int32_data")))
        if kind.bitwidth not in (2, 4):
            expected = count * (2 if kind in (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128) else 1)
    if held != expected or min(message.dims, default=0) < 0:
        unit = "bytes" if message.HasField("raw_data") else "values"
        raise ModelError(
            f"{name}: tensor {tensor.name!r} holds {held} {unit}, but {kind.name} {list(message.dims)} takes {expected}"
        )


def _graph(graph: onnx.GraphProto, name: str) -> None:
    if graph.sparse_initializer:
        first = graph.sparse_initializer[0].values.name
        raise ModelError(f"{name}: holds sparse initializers ({first!r} is one), which chanc does not carry")
    names = [tensor.name for tensor in graph.initializer]
    if "" in names:
        raise ModelError(f"{name}: initializer {names.index('')} has no name")
    _unique(names, f"{name}: two initializers have the name")
    _unique([value.name for value in graph.input], f"{name}: two graph inputs have the name")
    for tensor in graph.initializer:
        _external_numbers(tensor, name)
    _nodes(graph.node, name)


def _nodes(nodes: Iterable[onnx.NodeProto], name: str) -> None:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.UNDEFINED and not attribute.ref_attr_name:
                raise ModelError(f"{name}: {node.op_type} {node.name!r}: attribute {attribute.name!r} has no type")
            held = _HELD.get(attribute.type)
            if held is not None and not attribute.HasField(held) and not attribute.ref_attr_name:
                raise ModelError(f"{name}: {node.op_type} {node.name!r}: attribute {attribute.name!r} has no value")
            if attribute.type in _SPARSE:
                raise ModelError(
                    f"{name}: {node.op_type} {node.name!r} has a sparse tensor ({attribute.name}), "
                    "which chanc does not carry"
                )
            if attribute.HasField("t"):
                _external_numbers(attribute.t, name)
            if attribute.HasField("g"):
                _graph(attribute.g, name)
            for graph in attribute.graphs:
                _graph(graph, name)


def _external_numbers(tensor: onnx.TensorProto, name: str) -> None:
    for entry in tensor.external_data:
        if entry.key in ("offset", "length") and not (entry.value.isascii() and entry.value.isdigit()):
            raise ModelError(f"{name}: external data of tensor {tensor.name!r}: {entry.key} is {entry.value!r}")


def _unique(names: list[str], message: str) -> None:
    twice = [value for value, count in Counter(names).items() if count > 1]
    if twice:
        raise ModelError(f"{message} {twice[0]!r}")


def _entries(props: Mapping[str, str]) -> list[object]:
    return [*props.keys(), *props.values()]


def _utf8(strings: Sequence[object], name: str) -> None:
    if bytes in set(map(type, strings)):
        value = next(value for value in strings if isinstance(value, bytes))
        raise ModelError(f"{name}: a name or text is not UTF-8: {value[:60]!r}")
