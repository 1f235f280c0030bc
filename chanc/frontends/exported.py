"""What every export ends with: a file that onnx's checker takes, and that computes what the framework does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from chanc import plugins
from chanc.errors import ModelError, VerifyError
from chanc.oracles import compare

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_IR = 13  # the newest that onnxruntime 1.31 reads
TOLERANCE = 1e-4  # of the largest output

Arrays = Mapping[str, "NDArray[Any]"]


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    path: Path
    exporter: str  # "torchscript", "dynamo", or the frontend's packages with their versions
    opset: int
    params: int  # trainable parameters
    inputs: dict[str, tuple[int | str, ...]]  # name: shape, a word for a dynamic axis
    outputs: dict[str, tuple[int | str, ...]]
    difference: float  # between onnxruntime and the framework, as a share of the largest output
    note: str = ""  # what a user should know; empty where there is nothing


def described(path: str | os.PathLike[str], model: onnx.ModelProto, **more: Any) -> Exported:
    """What a model that was written to `path` looks like; `more` are the other fields."""
    opset = next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    inputs = {value.name: _shape(value) for value in model.graph.input}
    outputs = {value.name: _shape(value) for value in model.graph.output}
    return Exported(Path(path), opset=opset, inputs=inputs, outputs=outputs, **more)


def checked(model: onnx.ModelProto) -> bytes:
    """Give the model an IR version that onnxruntime reads, check it, serialise it. Raises ModelError."""
    needed = onnx.helper.find_min_ir_version_for(model.opset_import, True)
    model.ir_version = min(MAX_IR, max(model.ir_version, needed))
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise ModelError("the exported model is larger than 2 GB, which one ONNX file can't hold")
    data: bytes = model.SerializeToString()
    try:
        onnx.checker.check_model(data)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the exported model is not valid ONNX: {plugins.told(error)}") from error
    return data


def run_beside(data: bytes, feeds: Arrays, expected: Arrays, framework: str) -> float:
    """Run a model in onnxruntime; the largest difference from what the framework computes, over the largest output.

    A model of a fixed batch gets the samples one after another. Raises ModelError where onnxruntime doesn't take it,
    VerifyError where it fails or computes something else: a difference above 1e-4 of the largest output.
    """
    from chanc.backends import ort
    from chanc.backends.ort.batches import run_batch

    opened = ort.session(data, threads=1)  # for one small run, threads cost more than they save
    # An input that the computation does not need may be absent from the graph.
    wanted = {value.name for value in opened.get_inputs()}
    try:
        actual = run_batch(opened, {name: array for name, array in feeds.items() if name in wanted})
    except ModelError as error:
        raise VerifyError(str(error)) from error
    for name, want in expected.items():
        if want.shape != actual[name].shape:
            shapes = f"{list(actual[name].shape)} in onnxruntime and {list(want.shape)} in {framework}"
            raise VerifyError(f"{name} has shape {shapes}")
    found = compare(list(expected.values()), [actual[name] for name in expected], list(expected))
    for one in found:
        if not one.error <= TOLERANCE:
            apart = f"{one.error:.1e} of its largest value"
            raise VerifyError(f"{one.output} in onnxruntime differs from {framework} by {apart}")
    return max((one.error for one in found), default=0.0)


def _shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    return tuple(dim.dim_param or int(dim.dim_value) for dim in value.type.tensor_type.shape.dim)
