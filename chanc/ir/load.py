"""Reading a model from wherever it is held into an `onnx_ir.Model`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from chanc.errors import ModelError


def load(source: Any, *, copy: bool = True) -> ir.Model:
    """Read `source` (a path, `onnx.ModelProto`, `onnx_ir.Model` or `gs.Graph`) as an `onnx_ir.Model`.

    The result is a working copy: changing it never changes the caller's object. Weight data is shared or memory-mapped,
    not copied. With `copy=False` an `onnx_ir.Model` comes back as it is.

    Raises:
        ModelError: the source can't be read as a model.
    """
    if isinstance(source, ir.Model):
        return source.clone() if copy else source
    if isinstance(source, onnx.ModelProto):
        return ir.from_proto(source)
    if isinstance(source, (str, os.PathLike)):
        return _load_path(Path(source))
    raise ModelError(f"can't read a model from a {type(source).__name__}")


def _load_path(path: Path) -> ir.Model:
    try:
        return ir.load(path)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        raise ModelError(f"{path}: not an ONNX model") from error
