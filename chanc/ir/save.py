"""Writing a model to disk, whole or not at all."""

from __future__ import annotations

import os

import onnx_ir as ir

from chanc.ir.files import atomic_write


def save(model: ir.Model, path: str | os.PathLike[str]) -> None:
    """Write `model` to `path`, atomically.

    Raises:
        OSError: the file can't be written.
    """
    proto = ir.to_proto(model)
    with atomic_write(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
