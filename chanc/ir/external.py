"""Weights that lie outside the parsed message: bytes of the model file itself, and external data files.

A location is untrusted input, and is opened as onnx's own checker opens it: a regular file in the model's folder, by
no symbolic link, with no second hard link (which would be another folder's file). The file has to hold every byte that
the tensor claims. One kind of link is followed that the checker refuses: where the model file is a link itself, its
data may be links to the folder of the real one. The cache of the Hugging Face hub is made so.
"""

from __future__ import annotations

import errno
import functools
import math
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import onnx_ir as ir

from chanc.errors import ModelError
from chanc.files import open_regular
from chanc.ir.initializers import frozen_shape
from chanc.ir.screen import NodeList

_SUB_BYTE = 8


class MappedTensor(ir.Tensor):  # type: ignore[type-arg]
    """A tensor over a memory-mapped file; `release` gives its pages back to the system after they were read."""

    __slots__ = ("_map", "_span")

    def __init__(
        self, array: np.ndarray[Any, Any], dtype: ir.DataType, mapping: mmap.mmap, offset: int, **kwargs: object
    ) -> None:
        super().__init__(array, dtype, **kwargs)  # type: ignore[arg-type]
        self._map = mapping
        self._span = (offset, array.nbytes)

    def release(self) -> None:
        """Drop the pages that lie wholly in this tensor from resident memory; reading them again maps them again."""
        if hasattr(self._map, "madvise"):
            offset, size = self._span
            start = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
            length = (offset + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
            if length > 0:
                self._map.madvise(mmap.MADV_DONTNEED, start, length)


def release_pages(tensor: ir.TensorProtocol | None) -> None:
    """Give a tensor's pages back where it lies over a mapped file: once it was read, and won't be soon again."""
    if is_mapped(tensor):
        tensor.release()


def is_mapped(tensor: ir.TensorProtocol | None) -> TypeGuard[MappedTensor]:
    """Whether a tensor lies over a mapped file; `isinstance` asks a tensor of another kind for all methods of one."""
    return type(tensor) is MappedTensor


def tensor_over(
    data: memoryview,
    dtype: ir.DataType,
    shape: tuple[int, ...],
    *,
    name: str | None,
    doc_string: str | None,
    metadata_props: dict[str, str],
    where: str,
    offset: int = 0,
) -> ir.TensorProtocol:
    """A read-only tensor of `shape` over little-endian `data`, which is not copied.

    Raises: ModelError if the number of bytes doesn't fit dtype and shape.
    """
    count = math.prod(shape)
    expected = -(-count * dtype.bitwidth // 8)
    if min(shape, default=0) < 0 or len(data) != expected:
        raise ModelError(
            f"{where}: tensor {name!r} holds {len(data)} bytes, but {dtype.name} {list(shape)} takes {max(expected, 0)}"
        )
    rest = {"shape": frozen_shape(shape), "name": name, "doc_string": doc_string, "metadata_props": metadata_props}
    if dtype.bitwidth < _SUB_BYTE:
        return ir.PackedTensor(np.frombuffer(data, np.uint8), dtype, **rest)  # type: ignore[arg-type]
    element = _element(dtype)
    array = np.frombuffer(data, element).reshape(shape) if count else np.empty(shape, element)
    if isinstance(data.obj, mmap.mmap):
        return MappedTensor(array, dtype, data.obj, offset, **rest)
    return ir.Tensor(array, dtype, **rest)  # type: ignore[arg-type]


@functools.cache
def _element(dtype: ir.DataType) -> np.dtype[Any]:
    """Numpy's little-endian type of an element."""
    return np.dtype(dtype.numpy()).newbyteorder("<")


def resolve(graphs: Sequence[NodeList], source: Path | None, where: str) -> bool:
    """Put memory-mapped tensors in the place of external references in a model's graphs; True if there were any.

    A reference is relative to the folder of `source`, the model file, or to its own base_dir where there is none. The
    files are held open, so a later save over the same name doesn't change the values.

    Raises: ModelError for a missing or too short file and for a location outside the folder.
    """
    maps: dict[str, memoryview] = {}
    found = False
    for value in _initializers(graphs):
        if type(value.const_value) is ir.ExternalTensor:  # as in `is_mapped`
            value.const_value = _read(value.const_value, source, maps, where)
            found = True
    for node, key, attribute in _tensor_attributes(graphs):
        if type(attribute.value) is ir.ExternalTensor:
            node.attributes[key] = ir.AttrTensor(
                key, _read(attribute.value, source, maps, where), doc_string=attribute.doc_string
            )
            found = True
    return found


def _initializers(graphs: Sequence[NodeList]) -> Iterator[ir.Value]:
    for graph in graphs:
        if isinstance(graph, ir.Graph):
            yield from graph.initializers.values()


def _tensor_attributes(graphs: Sequence[NodeList]) -> Iterator[tuple[ir.Node, str, ir.Attr]]:
    for graph in graphs:
        for node in graph:
            for key, attribute in tuple(node.attributes.items()):
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield node, key, attribute


def _read(tensor: ir.ExternalTensor, source: Path | None, maps: dict[str, memoryview], where: str) -> ir.TensorProtocol:
    location = os.fspath(tensor.location)
    model_file = source if source is not None else Path(tensor.base_dir or ".") / "model"
    path = _inside(model_file, location, tensor.name, where)
    if path not in maps:
        maps[path] = _map(path, location, tensor.name, where)
    view, offset = maps[path], tensor.offset or 0
    shape = tuple(int(size) for size in tensor.shape.numpy())
    size = tensor.length if tensor.length is not None else tensor.nbytes
    if offset < 0 or size < 0 or offset + size > len(view):
        raise ModelError(
            f"{where}: external data file {location!r} has {len(view)} bytes, tensor {tensor.name!r} needs bytes "
            f"{offset} to {offset + size}"
        )
    return tensor_over(
        view[offset : offset + size],
        tensor.dtype,
        shape,
        name=tensor.name,
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props),
        where=where,
        offset=offset,
    )


def _inside(model_file: Path, location: str, tensor: str, where: str) -> str:
    """The real path of `location`: in the folder of the model file, or of what that is a link to."""
    folder, real_folder = os.path.realpath(model_file.parent), os.path.dirname(os.path.realpath(model_file))
    legal = bool(location) and not os.path.isabs(location) and "\0" not in location
    given = os.path.normpath(os.path.join(folder, location)) if legal else ""
    path = os.path.realpath(os.path.join(folder, location)) if legal else ""
    if not legal or not any(os.path.commonpath([place, path]) == place for place in (folder, real_folder)):
        raise ModelError(f"{where}: external data of tensor {tensor!r} lies outside the model's folder: {location!r}")
    if path != given and not model_file.is_symlink():
        raise ModelError(f"{where}: external data of tensor {tensor!r} lies behind a symbolic link: {location!r}")
    return path


def _map(path: str, location: str, tensor: str, where: str) -> memoryview:
    try:
        with open_regular(path, links=False) as file:
            status = os.fstat(file.fileno())
            if status.st_nlink > 1:
                raise OSError(errno.EMLINK, "it has several hard links")
            if status.st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(
            f"{where}: external data file {location!r} of tensor {tensor!r} can't be read: {reason}"
        ) from error
