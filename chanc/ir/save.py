"""Writing a model, whole or not at all, and giving back the kind of object that came in.

Big initializers stream from where they are held into the file; protobuf sees only the rest (`chanc.ir.wire`), so saving
takes little more memory than the largest tensor that isn't plain bytes already.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
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
from chanc.ir.external import MappedTensor
from chanc.ir.load import DESCRIBED_KEY, EXTERNAL_KEY, HOLLOW_BYTES
from chanc.ir.maps import MAPS_KEY, put_back
from chanc.ir.screen import no_data

PROTOBUF_BYTES = (1 << 31) - 1
"""A protobuf message must be smaller than this."""

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
    if not model.meta.get(EXTERNAL_KEY) and _size(big) < PROTOBUF_BYTES:
        rest = _hollow(model, big, None)
        if len(rest) + _size(big) < PROTOBUF_BYTES:
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
    """The serialized model with big initializers said to be external data, and the arrays of those that are used.

    For a runtime that takes them from memory, by name: nothing is copied. Types that NumPy lacks stay inside. Raises:
    ModelError, as `to_bytes`.
    """
    big = {
        index: tensor
        for index, tensor in _big_initializers(model, external=True).items()
        if tensor.dtype.numpy().kind in "biuf"
    }
    data = _hollow(model, big, Layout("memory", {index: (0, tensor.nbytes) for index, tensor in big.items()}))
    values = [value for value in model.graph.initializers.values() if value.const_value is not None]
    used = {index: tensor for index, tensor in big.items() if values[index].uses() or values[index].is_graph_output()}
    return data, {values[index].name or "": tensor.numpy() for index, tensor in used.items()}


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """`model` as an `onnx.ModelProto` that shares nothing with it. Raises: ModelError, as `to_bytes`."""
    proto: onnx.ModelProto = onnx.ModelProto.FromString(to_bytes(model))
    return proto


def stub_proto(model: ir.Model) -> onnx.ModelProto:
    """A small `ModelProto` in which big initializers are graph inputs of the same shape, for checks and inference."""
    big = _big_initializers(model, external=True)
    proto: onnx.ModelProto = onnx.ModelProto.FromString(_hollow(model, big, None))
    stubs = [proto.graph.initializer[index] for index in big]
    known = {value.name for value in proto.graph.input}
    for stub in stubs:
        if stub.name not in known:
            proto.graph.input.append(onnx.helper.make_tensor_value_info(stub.name, stub.data_type, list(stub.dims)))
    kept = [tensor for index, tensor in enumerate(proto.graph.initializer) if index not in big]
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


class _Hollow(ir.LazyTensor):
    """Stands for a tensor while a model is serialized: all but the bytes."""

    __slots__ = ()

    def tobytes(self) -> bytes:
        """No bytes: they are written later."""
        return b""


def enumerate_initializers(model: ir.Model) -> Iterator[tuple[int, ir.TensorProtocol]]:
    """(index as serialized, tensor) of the main graph's initializers."""
    filled = (value.const_value for value in model.graph.initializers.values() if value.const_value is not None)
    yield from enumerate(filled)


def _big_initializers(model: ir.Model, *, external: bool = False) -> dict[int, ir.TensorProtocol]:
    """The tensors that are written beside protobuf: not those that a message holds as typed values, which stay so."""
    return {
        index: tensor
        for index, tensor in enumerate_initializers(model)
        if tensor.dtype != ir.DataType.STRING and tensor.nbytes >= HOLLOW_BYTES and not no_data(tensor)
        if external or not isinstance(tensor, ir.TensorProtoTensor)
    }


def _size(big: dict[int, ir.TensorProtocol]) -> int:
    """Bytes of the tensors, and at most so many around each (tags and lengths)."""
    return sum(tensor.nbytes + 64 for tensor in big.values())


def _hollow(model: ir.Model, big: dict[int, ir.TensorProtocol], layout: Layout | None) -> bytes:
    """Serialize all but the bytes of `big`; with a layout, references to them are put in."""
    with _stand_ins(model, big, layout):
        try:
            proto = ir.to_proto(model)
            _metadata_once(proto.graph)
            put_back(proto.graph, model.meta.get(MAPS_KEY, {}))
            if DESCRIBED_KEY in model.meta:
                _drop_descriptions(proto.graph, model.graph, model.meta[DESCRIBED_KEY])
            data: bytes = proto.SerializeToString()
        except Exception as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            raise ModelError(f"the model can't be written as ONNX: {str(cause).strip().splitlines()[0]}") from error
    return data


def _metadata_once(graph: onnx.GraphProto) -> None:
    """Take out second entries of an initializer's metadata: `onnx_ir` adds them to those the message holds already."""
    for tensor in graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.metadata_props}
        if len(entries) < len(tensor.metadata_props):
            del tensor.metadata_props[:]
            for key, value in entries.items():
                tensor.metadata_props.add(key=key, value=value)


def _drop_descriptions(proto: onnx.GraphProto, graph: ir.Graph, described: frozenset[str]) -> None:
    """Take out the value_info of initializers that the input model didn't have: it only repeats the tensor's own."""
    bare = {tensor.name for tensor in proto.initializer}.difference(described)
    kept = [value for value in proto.value_info if value.name not in bare]
    del proto.value_info[:]
    proto.value_info.extend(kept)
    for message, node in zip(proto.node, graph, strict=True):
        for attribute, inner in zip(message.attribute, node.attributes.values(), strict=True):
            if inner.type == ir.AttributeType.GRAPH and not inner.is_ref():
                _drop_descriptions(attribute.g, inner.as_graph(), described)


@contextlib.contextmanager
def _stand_ins(model: ir.Model, big: dict[int, ir.TensorProtocol], layout: Layout | None) -> Iterator[None]:
    """Swap the big initializers' tensors for stand-ins while the model is serialized."""
    values = [value for value in model.graph.initializers.values() if value.const_value is not None]
    tensors = [value.const_value for value in values]
    try:
        for index, value in enumerate(values):
            if index in big:
                value.const_value = _stand_in(value.name or "", big[index], index, layout)
        yield
    finally:
        for value, tensor in zip(values, tensors, strict=True):
            value.const_value = tensor


def _stand_in(name: str, tensor: ir.TensorProtocol, index: int, layout: Layout | None) -> ir.TensorProtocol:
    shape = ir.Shape(tensor.shape.numpy())
    if layout is None:
        stand_in: ir.TensorProtocol = _Hollow(lambda: tensor, tensor.dtype, shape, name=name)
    else:
        offset, length = layout.places[index]
        stand_in = ir.ExternalTensor(layout.location, offset, length, tensor.dtype, shape=shape, name=name)
    stand_in.doc_string = tensor.doc_string
    stand_in.metadata_props.update(tensor.metadata_props)
    return stand_in


def _write_embedded(file: BinaryIO, rest: bytes, big: dict[int, ir.TensorProtocol]) -> None:
    """Write the pieces of the model in turn; each tensor is read only when its turn comes."""
    for piece in wire.fill(memoryview(rest), {index: tensor.nbytes for index, tensor in big.items()}):
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
    if len(view) != tensor.nbytes:
        raise ModelError(f"tensor {tensor.name!r} gives {len(view)} bytes, its shape and type take {tensor.nbytes}")
    for start in range(0, len(view), _CHUNK_BYTES):
        file.write(view[start : start + _CHUNK_BYTES])
    if isinstance(tensor, MappedTensor):
        tensor.release()
