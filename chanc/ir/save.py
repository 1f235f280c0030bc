"""Writing a model, whole or not at all, and giving back the kind of object that came in.

Big initializers stream from where they are held into the file; protobuf sees only the rest (`chanc.ir.wire`), so saving
takes little more memory than the largest tensor that isn't plain bytes already.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.errors import ModelError
from chanc.files import atomic_write
from chanc.ir import wire
from chanc.ir.collector import uncollected
from chanc.ir.external import release_pages
from chanc.ir.load import DESCRIBED_KEY, EXTERNAL_KEY
from chanc.ir.maps import MAPS_KEY, put_back
from chanc.ir.nodes import bodies
from chanc.ir.screen import no_data

PROTOBUF_BYTES = (1 << 31) - 1
"""A protobuf message must be smaller than this."""

HOLLOW_BYTES = 1024
"""Initializers of so many bytes or more are written beside protobuf; smaller ones (shapes, biases) aren't worth it."""

LARGE_BYTES = 1 << 16
"""A runtime's copies of initializers of so many bytes or more are worth avoiding."""

_ONE = np.zeros(1, np.float32)
_CHUNK_BYTES = 16 << 20
_ALIGNMENT = 4096


def save(model: ir.Model, path: str | os.PathLike[str]) -> None:
    """Write `model` to `path`: IR version, opset imports, dtypes and values as they are; the model isn't changed.

    A model of 2 GB or more, or one that was read with external data, gets its initializers from 1 KB on in a file
    `<name of path>.data` beside it. Both files are complete before either takes its name; the data file takes it first.

    Raises:
        ModelError: the model can't be written as ONNX.
        OSError: a file can't be written (`filename` says which).
    """
    target = Path(path)
    big = _big_initializers(model)
    size = _size(big)
    if not model.meta.get(EXTERNAL_KEY) and size < PROTOBUF_BYTES:
        rest = _hollow(model, big, None)
        if len(rest) + size < PROTOBUF_BYTES:
            with atomic_write(target) as temporary, temporary.open("wb") as file:
                _write_embedded(file, rest, big)
            return
    _save_external(model, target)


def size_on_disk(model: ir.Model, path: str | os.PathLike[str]) -> int:
    """Bytes of the file that holds `model`, with its external data. Raises: OSError."""
    file = os.path.getsize(path)
    tensors = (value.const_value for value in model.graph.initializers.values())
    weights = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    return file if file >= weights else file + weights  # a file that is smaller than its weights has them beside it


def _save_external(model: ir.Model, target: Path) -> None:
    big = _big_initializers(model, external=True)
    with contextlib.ExitStack() as stack:
        # The stack unwinds in reverse, so the data file, entered last, gets its name first.
        temporary = stack.enter_context(atomic_write(target))
        if big:
            data = stack.enter_context(atomic_write(target.with_name(target.name + ".data")))
            places = _write_data(data, big)
            temporary.write_bytes(_hollow(model, big, Layout(target.name + ".data", places)))
        else:
            temporary.write_bytes(_hollow(model, big, None))


def to_bytes(model: ir.Model) -> bytes:
    """The serialized `ModelProto`. Raises: ModelError where it can't be, as for 2 GB and more."""
    big = _big_initializers(model)
    rest = _hollow(model, big, None) if _size(big) < PROTOBUF_BYTES else b""
    if len(rest) + _size(big) >= PROTOBUF_BYTES:
        raise ModelError("the model has 2 GB or more, which no ModelProto can hold: save it to a file instead")
    file = io.BytesIO()
    _write_embedded(file, rest, big)
    return file.getvalue()


def detached(model: ir.Model) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """The serialized model with its large weights as graph inputs, and the arrays of those, by name.

    For a runtime that reads what it is fed where it lies: of an initializer it would make a copy. Types that NumPy
    lacks, and what is an output as well, stay inside. Raises: ModelError, as `to_bytes`.
    """
    values = [value for value, _ in _filled(model)]
    large = {
        index: tensor
        for index, tensor in _big_initializers(model, external=True).items()
        if _bytes(tensor) >= LARGE_BYTES or isinstance(tensor, ir.ExternalTensor)  # a file that a runtime won't open
        if tensor.dtype.numpy().kind in "biuf" and not values[index].is_graph_output()
    }
    read = {index: tensor for index, tensor in large.items() if values[index].uses()}
    data: bytes = _stubbed(model, large, read).SerializeToString()
    return data, {values[index].name or "": tensor.numpy() for index, tensor in read.items()}


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """`model` as an `onnx.ModelProto` that shares nothing with it. Raises: ModelError, as `to_bytes`."""
    proto: onnx.ModelProto = onnx.ModelProto.FromString(to_bytes(model))
    return proto


def stub_proto(model: ir.Model) -> onnx.ModelProto:
    """A small `ModelProto` in which big initializers are graph inputs of the same shape, for checks and inference."""
    big = _big_initializers(model, external=True)
    return _stubbed(model, big, big)


def _stubbed(model: ir.Model, out: dict[int, ir.TensorProtocol], fed: Collection[int]) -> onnx.ModelProto:
    """A `ModelProto` without the initializers `out`, of which those `fed` are graph inputs of the same shape."""
    proto: onnx.ModelProto = onnx.ModelProto.FromString(_hollow(model, out, None))
    known = {value.name for value in proto.graph.input}
    for stub in (proto.graph.initializer[index] for index in fed):
        if stub.name not in known:
            proto.graph.input.append(onnx.helper.make_tensor_value_info(stub.name, stub.data_type, list(stub.dims)))
    kept = [tensor for index, tensor in enumerate(proto.graph.initializer) if index not in out]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return proto


def like(model: ir.Model, source: Any) -> Any:
    """`model` as the kind of object that `source` is: a ModelProto or a gs.Graph; for a path, an `onnx_ir.Model`.

    Raises:
        ModelError: the kind can't hold the model.
    """
    if isinstance(source, onnx.ModelProto):
        return to_proto(model)
    surgeon = sys.modules.get("onnx_graphsurgeon")
    if surgeon is not None and isinstance(source, surgeon.Graph):
        from chanc.ir.graphsurgeon import to_gs

        return to_gs(model)
    return model


@dataclass(frozen=True)
class Layout:
    """An external data file: its name and, by the initializer's index, (offset, length) in bytes."""

    location: str
    places: dict[int, tuple[int, int]]


def enumerate_initializers(model: ir.Model) -> Iterator[tuple[int, ir.TensorProtocol]]:
    """(index as serialized, tensor) of the main graph's initializers."""
    yield from enumerate(tensor for _, tensor in _filled(model))


def _filled(model: ir.Model) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    """The main graph's initializers that have a tensor, in order, and it."""
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            yield value, value.const_value


def _big_initializers(model: ir.Model, *, external: bool = False) -> dict[int, ir.TensorProtocol]:
    """The tensors that are written beside protobuf: not those that a message holds as typed values, which stay so."""
    return {
        index: tensor
        for index, tensor in enumerate_initializers(model)
        if tensor.dtype != ir.DataType.STRING and _bytes(tensor) >= HOLLOW_BYTES and not no_data(tensor)
        if external or type(tensor) is not ir.TensorProtoTensor
    }


def _size(big: dict[int, ir.TensorProtocol]) -> int:
    """Bytes of the tensors, and at most so many around each (tags and lengths)."""
    return sum(_bytes(tensor) + 64 for tensor in big.values())


def _bytes(tensor: ir.TensorProtocol) -> int:
    """The bytes of a tensor as it is written; `nbytes` counts them anew from the shape, which takes its time."""
    held = tensor.raw if isinstance(tensor, ir.Tensor) and tensor.dtype.bitwidth >= 8 else None
    return held.nbytes if isinstance(held, np.ndarray) else tensor.nbytes


def _hollow(model: ir.Model, big: dict[int, ir.TensorProtocol], layout: Layout | None) -> bytes:
    """Serialize all but the bytes of `big`; with a layout, references to them are put in."""
    described = model.meta.get(DESCRIBED_KEY)
    try:
        with _described_only(model.graph, described), uncollected():
            proto = ir.to_proto(model)
        del proto.graph.initializer[:]
        for index, (value, tensor) in enumerate(_filled(model)):
            place = (layout.location, *layout.places[index]) if layout is not None and index in big else None
            _write_message(proto.graph.initializer.add(), value, tensor, place, hollow=index in big)
        put_back(proto.graph, model.meta.get(MAPS_KEY, {}))
        if described is not None:
            _drop_descriptions(proto.graph, model.graph, described)
        data: bytes = proto.SerializeToString()
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ModelError(f"the model can't be written as ONNX: {str(cause).strip().splitlines()[0]}") from error
    return data


@contextlib.contextmanager
def _described_only(graph: ir.Graph, described: frozenset[str] | None) -> Iterator[None]:
    """Without the initializers of which a file says no more than the tensor, the others empty: tensors come later."""
    held = graph.initializers.data
    left = {
        name: value for name, value in held.items()
        if described is None or name in described or value.meta or value.is_graph_input()
    }  # fmt: skip
    tensors = {name: value.const_value for name, value in left.items()}
    # One for all: it gets each one's name when that is written. Tensors look at what they are given for a long time.
    stub = ir.Tensor(_ONE)
    try:
        graph.initializers.data = left
        for value in left.values():
            value.const_value = stub if value.const_value is not None else None
        yield
    finally:
        for name, value in left.items():
            value.const_value = tensors[name]
        graph.initializers.data = held


def _write_message(
    message: onnx.TensorProto,
    value: ir.Value,
    tensor: ir.TensorProtocol,
    place: tuple[str, int, int] | None,
    *,
    hollow: bool,
) -> None:
    """An initializer's message: without the bytes where it is hollow, with the (file, offset, length) of a place."""
    if not hollow and not isinstance(tensor, ir.Tensor):
        tensor.name = value.name or ""
        ir.serde.serialize_tensor_into(message, tensor)
        _metadata_once(message)
        return
    message.name = value.name or ""
    if tensor.doc_string:
        message.doc_string = tensor.doc_string
    message.data_type = tensor.dtype.value
    message.dims.extend(tensor.shape.dims)
    if place is not None:
        message.data_location = onnx.TensorProto.EXTERNAL
        for key, said in zip(("location", "offset", "length"), place, strict=True):
            message.external_data.add(key=key, value=str(said))
    else:
        message.raw_data = b"" if hollow else tensor.tobytes()
    for key in sorted(tensor.metadata_props):
        message.metadata_props.add(key=key, value=tensor.metadata_props[key])


def _metadata_once(message: onnx.TensorProto) -> None:
    """Take out second entries of an initializer's metadata: `onnx_ir` adds them to those the message holds already."""
    entries = {entry.key: entry.value for entry in message.metadata_props}
    if len(entries) < len(message.metadata_props):
        del message.metadata_props[:]
        for key, value in entries.items():
            message.metadata_props.add(key=key, value=value)


def _drop_descriptions(proto: onnx.GraphProto, graph: ir.Graph, described: frozenset[str]) -> None:
    """Take out the value_info of initializers that the input model didn't have: it only repeats the tensor's own."""
    bare = {tensor.name for tensor in proto.initializer}.difference(described)
    kept = [value for value in proto.value_info if value.name not in bare]
    if len(kept) < len(proto.value_info):
        del proto.value_info[:]
        proto.value_info.extend(kept)
    for index, node in [(index, node) for index, node in enumerate(graph) if bodies(node)]:
        message = proto.node[index]
        for attribute, inner in zip(message.attribute, node.attributes.values(), strict=True):
            if inner.type == ir.AttributeType.GRAPH and not inner.is_ref():
                _drop_descriptions(attribute.g, inner.as_graph(), described)


def _write_embedded(file: BinaryIO, rest: bytes, big: dict[int, ir.TensorProtocol]) -> None:
    """Write the pieces of the model in turn; each tensor is read only when its turn comes."""
    for piece in wire.fill(memoryview(rest), {index: _bytes(tensor) for index, tensor in big.items()}):
        if isinstance(piece, wire.Payload):
            _write_tensor(file, big[piece.initializer])
        else:
            file.write(piece)


def _write_data(path: Path, big: dict[int, ir.TensorProtocol]) -> dict[int, tuple[int, int]]:
    """Write the tensors one behind the other, on page boundaries so that they can be memory-mapped."""
    places = {}
    with path.open("wb") as file:
        for index, tensor in big.items():
            offset = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
            file.write(b"\0" * (offset - file.tell()))
            _write_tensor(file, tensor)
            places[index] = (offset, file.tell() - offset)
    return places


def _write_tensor(file: BinaryIO, tensor: ir.TensorProtocol) -> None:
    """Write a tensor's bytes (little-endian, packed) in chunks. Plain arrays are not copied."""
    array = tensor.numpy() if tensor.dtype.bitwidth >= 8 else None
    little = sys.byteorder == "little"
    if array is None or not little or not array.flags.c_contiguous:
        view = memoryview(tensor.tobytes())
    else:
        view = memoryview(array.reshape(-1).view(np.uint8).data)
    if len(view) != _bytes(tensor):
        raise ModelError(f"tensor {tensor.name!r} gives {len(view)} bytes, its shape and type take {tensor.nbytes}")
    for start in range(0, len(view), _CHUNK_BYTES):
        file.write(view[start : start + _CHUNK_BYTES])
    release_pages(tensor)
