"""Models to run tests on: skeletons, which are graphs whose large weights were left out, and plain ONNX files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

MARK = "stripped"
FEW = 8


def open_model(path: Path, seed: int = 0) -> onnx.ModelProto:
    """A model file; a skeleton (`.onnx.gz`) gets random weights."""
    if path.suffix != ".gz":
        return onnx.load(path)
    model = onnx.load_from_string(gzip.decompress(path.read_bytes()))
    rng = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        if tensor.doc_string == MARK:
            tensor.raw_data = _values(tensor.name, tuple(tensor.dims), rng).tobytes()
            tensor.doc_string = ""
    return model


def skeleton(path: Path) -> bytes:
    """A model file as `open_model` reads it: without metadata, and without float weights of `FEW` or more values."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and int(np.prod(tensor.dims)) >= FEW:
            for held in ("raw_data", "float_data"):
                tensor.ClearField(held)
            tensor.doc_string = MARK
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.ClearField("metadata_props")
    return gzip.compress(model.SerializeToString(deterministic=True), mtime=0)


def _values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Kernels scaled as He et al. 2015, so that activations keep their size; scales and variances around 1."""
    if len(shape) > 1:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 2 else max(shape)
        return rng.standard_normal(shape, dtype=np.float32) * np.float32((2.0 / fan_in) ** 0.5)
    if name.endswith(("weight", "gamma", "running_var")):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)
