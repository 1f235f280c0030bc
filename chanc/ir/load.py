"""Reading a model from wherever it is held into an `onnx_ir.Model`.

Weights of a file are used where they lie: read once as one buffer, memory-mapped when the file is large or when they
are external data. What `onnx_ir` would drop or stumble over is refused by name, so that nothing is lost in silence.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from chanc.boundary import boundary
from chanc.errors import ModelError
from chanc.files import open_regular
from chanc.ir import external, screen, wire
from chanc.ir.collector import uncollected
from chanc.ir.maps import MAPS_KEY, set_aside
from chanc.ir.sizes import Sizes, bind, sizes_of
from chanc.ir.verify import verify

MAP_BYTES = 512 << 20
"""Files from this size on are memory-mapped. Smaller ones are read: no one can change a buffer under a long search."""

EXTERNAL_KEY = "chanc.external_data"
"""Set in `Model.meta` where the input kept its weights in external data, so that the output does too."""

DESCRIBED_KEY = "chanc.described_initializers"
"""In `Model.meta`: names of the initializers that had a value_info; `onnx_ir` would write one for each."""

# onnx_ir warns about what is refused here with one clear line.
logging.getLogger("onnx_ir").addHandler(logging.NullHandler())


@boundary("reading")
def load(
    source: Any, *, copy: bool = True, dims: Sizes | None = None, shapes: Mapping[str, Sequence[int]] | None = None
) -> ir.Model:
    """Read `source` (a path, `onnx.ModelProto`, `onnx_ir.Model` or `gs.Graph`) as an `onnx_ir.Model`.

    The result is a working copy: changing it never changes the caller's object. Tensors of an `onnx_ir.Model` are
    shared with it. With `copy=False` an `onnx_ir.Model` comes back as it is, after the same checks. `dims` gives open
    axes a size, by the name of the dimension, `shapes` whole inputs, by theirs: the copy has them.

    Raises:
        ModelError: the source can't be read, is not a legal graph (`chanc.ir.verify`), or holds what chanc can't carry;
            it has no axes of that name.
    """
    model = _read_in(source, copy or bool(dims or shapes))
    bind(model, sizes_of(model, dims, shapes))
    return model


def _read_in(source: Any, copy: bool) -> ir.Model:
    if isinstance(source, ir.Model):
        return _from_ir(source, copy)
    if isinstance(source, onnx.ModelProto):
        with uncollected():
            return _from_buffer(memoryview(_serialized(source)), None, "the ModelProto")
    if isinstance(source, (str, os.PathLike)):
        return _from_path(Path(os.fspath(source)))
    surgeon = sys.modules.get("onnx_graphsurgeon")
    if surgeon is not None and isinstance(source, surgeon.Graph):
        from chanc.ir.graphsurgeon import from_gs

        return from_gs(source)
    kind = type(source).__name__
    raise ModelError(f"can't read a model from a {kind}: give a path, a ModelProto, an onnx_ir.Model or a gs.Graph")


def copy_model(model: ir.Model) -> ir.Model:
    """A copy of `model` that shares only the tensors; `meta` goes along. Raises: ModelError if it isn't sorted."""
    try:
        with uncollected():
            twin = model.clone()
    except Exception as error:
        raise ModelError(f"the model can't be copied: {_first_line(error)}") from error
    twin.meta.update(model.meta)
    return twin


def _from_ir(model: ir.Model, copy: bool) -> ir.Model:
    screen.opsets(model.opset_imports, "the model")
    verify(model)
    model = copy_model(model) if copy else model
    if copy and external.resolve(screen.bodies(model), None, "the model"):
        model.meta[EXTERNAL_KEY] = True
    return model


def _from_path(path: Path) -> ir.Model:
    try:
        buffer = _read(path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelError(f"{str(path)!r}: {error}") from error
    with uncollected():
        return _from_buffer(buffer, path, str(path))


def _read(path: Path) -> memoryview:
    """The bytes of a regular file, in memory or mapped."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder, not a model file")
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size >= MAP_BYTES:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        # Not file.read(): numpy asks for large pages, with which a big file is read in half the time.
        return np.fromfile(file, np.uint8).data.toreadonly()


def _serialized(proto: onnx.ModelProto) -> bytes:
    try:
        data: bytes = proto.SerializeToString()
    except Exception as error:
        raise ModelError(
            f"the ModelProto can't be serialized ({_first_line(error)}); "
            "one over 2 GB has to be saved with external data and given as a path"
        ) from error
    return data


def _from_buffer(buffer: memoryview, path: Path | None, name: str) -> ir.Model:
    """Parse a serialized model; external data is looked for beside `path` (None: in the working directory)."""
    screen.magic(buffer, name)
    try:
        # All of them: a message makes the shape and the values of a tensor anew whenever they are asked for.
        rest, places = wire.hollow(buffer, 1)
    except wire.WireError as error:
        raise ModelError(f"{name}: not an ONNX model, or a damaged one ({error})") from error
    try:
        proto = onnx.ModelProto.FromString(rest)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{name}: not an ONNX model, or a damaged one ({_first_line(error)})") from error
    screen.proto(proto, name)
    tensors = {index: _tensor(proto.graph.initializer[index], buffer, place, name) for index, place in places.items()}
    names = [tensor.name for tensor in proto.graph.initializer]
    maps = set_aside(proto.graph)
    described = frozenset(screen.described_initializers(proto.graph))
    try:
        model: ir.Model = ir.from_proto(proto)
    except Exception as error:
        raise ModelError(f"{name}: {_first_line(_root(error))}") from error
    values = model.graph.initializers.data
    for index, tensor in tensors.items():
        values[names[index]].const_value = tensor
    model.meta[DESCRIBED_KEY] = described
    if maps:
        model.meta[MAPS_KEY] = maps
    graphs = screen.bodies(model)
    screen.text(model, graphs, name)
    screen.tensors(graphs, name)
    if external.resolve(graphs, path, name):
        model.meta[EXTERNAL_KEY] = True
    _tolerate(model)
    try:
        verify(model)
    except ModelError as error:
        raise ModelError(f"{name}: {error}") from error
    return model


def _tolerate(model: ir.Model) -> None:
    """Right what converters to half precision leave behind and runtimes put up with: order, types of initializers."""
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and value.dtype not in (None, tensor.dtype) and not value.is_graph_input():
            value.type = ir.TensorType(tensor.dtype)
    if not _in_order(model.graph):
        with contextlib.suppress(ValueError):  # a cycle: verify names it
            model.graph.sort()


def _in_order(graph: ir.Graph) -> bool:
    """Whether no node of the graph comes before one that makes an input of it."""
    seen: set[ir.Node] = set()
    for node in graph:
        makers = (value.producer() for value in node.inputs if value is not None)
        if any(maker is not None and maker not in seen and maker.graph is graph for maker in makers):
            return False
        seen.add(node)
    return True


def _tensor(proto: onnx.TensorProto, buffer: memoryview, place: slice, name: str) -> ir.TensorProtocol:
    """A tensor over `buffer[place]`, the raw_data that was kept out of `proto`."""
    return external.tensor_over(
        buffer[place],
        screen.dtype(proto.data_type, proto.name, name),
        tuple(proto.dims),
        name=proto.name,
        doc_string=proto.doc_string or None,
        metadata_props={entry.key: entry.value for entry in proto.metadata_props},
        where=name,
        offset=place.start,
    )


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
