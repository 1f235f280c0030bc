"""From what a foreign exporter wrote to a file for channel work: norms recovered, channels first, an open batch.

The file is checked twice by a run in onnxruntime beside the framework's own answer, at a batch that nothing was traced
with: as the exporter wrote it, and as it is written here.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from onnx import TensorProto

from chanc.analysis.fold_shapes import settled
from chanc.data.contract import KEY
from chanc.errors import ChancError, ModelError
from chanc.files import atomic_write
from chanc.frontends.exported import Arrays, Exported, checked, described, run_beside
from chanc.frontends.foreign import BATCH, Foreign, Job
from chanc.frontends.runner import Answer, walked
from chanc.ir import copy_model, load, to_proto
from chanc.ir.normalize import normalize
from chanc.transforms import channels_first, fold_constants, recover_affine, recover_groupnorm

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def export_foreign(
    spec: str,
    road: Foreign,
    path: str | os.PathLike[str],
    *,
    shapes: Sequence[Sequence[int]] = (),
    options: Mapping[str, Any] | None = None,
    opset: int | None = None,
    seed: int = 0,
    python: str | None = None,
) -> Exported:
    """Write the model that `spec` names to `path`; `road` is its frontend.

    shapes: of its inputs, batch first, where the framework doesn't tell. options: of its factory. python: another
    interpreter to run the framework in.

    Raises ChancError for a model that can't be made, ModelError for one that can't be exported, VerifyError where
    onnxruntime computes something else than the framework, MissingDependencyError with what to install. Nothing is
    written then.
    """
    word, _, target = spec.partition(":")
    job = Job(target, Path(), tuple(map(tuple, shapes)), dict(options or {}), opset, seed)
    with walked(word, road, job, python) as answer:
        model = load(answer.path)
        feeds, expected = _named(word, model, answer)
        with _blamed(f"{word}: what its exporter wrote is wrong"):
            run_beside(checked(to_proto(model)), feeds, expected, word)
        cleaned = _cleaned(model, answer)
    note = ""
    try:
        proto, data, difference = _tried(_opened(cleaned, expected), feeds, expected, word)
    except ChancError:
        note = f"the batch stays {_batch(cleaned)}: the exporter wrote it into the graph"
        with _blamed(f"{word}: what was made of the exporter's file is wrong"):
            proto, data, difference = _tried(cleaned, feeds, expected, word)
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    return described(path, proto, exporter=answer.packages, params=_params(proto), difference=difference, note=note)


@contextlib.contextmanager
def _blamed(text: str) -> Iterator[None]:
    """Errors begin with whose fault it is."""
    try:
        yield
    except ChancError as error:
        raise type(error)(f"{text}: {error}") from error


def _tried(model: ir.Model, feeds: Arrays, expected: Arrays, word: str) -> tuple[onnx.ModelProto, bytes, float]:
    """The model as it is written, and how far it is from the framework. Raises as `checked` and `run_beside`."""
    proto = to_proto(model)
    data = checked(proto)
    return proto, data, run_beside(data, feeds, expected, word)


def _named(word: str, model: ir.Model, answer: Answer) -> tuple[Arrays, Arrays]:
    """The example by the names of the graph."""
    inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    for values, arrays, kind in ((inputs, answer.inputs, "input"), (model.graph.outputs, answer.outputs, "output")):
        if len(values) != len(arrays):
            raise ModelError(f"{word}: the graph has {len(values)} {kind}s, and the model {len(arrays)}")
    feeds = {value.name or "": array for value, array in zip(inputs, answer.inputs, strict=True)}
    return feeds, {value.name or "": array for value, array in zip(model.graph.outputs, answer.outputs, strict=True)}


def _cleaned(model: ir.Model, answer: Answer) -> ir.Model:
    """A copy in normal form, with the framework's norms, and with Transposes where they can't be avoided."""
    cleaned = copy_model(model)
    normalize(cleaned)
    settled(cleaned)
    fold_constants(cleaned)
    recover_affine(cleaned, known=answer.norms)
    recover_groupnorm(cleaned)
    channels_first(cleaned)
    cleaned.metadata_props.update({KEY + name: value for name, value in answer.contract.items()})
    return cleaned


def _opened(model: ir.Model, expected: Arrays) -> ir.Model:
    """A copy whose inputs and outputs have an open batch; what is declared of values between them is forgotten."""
    opened = copy_model(model)
    ends = [*opened.graph.inputs, *opened.graph.outputs]
    for value in {output for node in opened.graph for output in node.outputs} - set(ends):
        value.shape = None
    for value in ends:
        answer = expected.get(value.name or "")
        if value.shape is not None and value.shape.rank() and (answer is None or len(answer) == BATCH):
            value.shape = ir.Shape([ir.SymbolicDim("batch"), *value.shape[1:]])
    return opened


def _batch(model: ir.Model) -> int | str:
    shape = model.graph.inputs[0].shape
    size = shape[0] if shape is not None and shape.rank() else 1
    return size if isinstance(size, int) else str(size)


def _params(model: onnx.ModelProto) -> int:
    """Entries of float weights, without the statistics of norms."""
    statistics = {name for node in model.graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    weights = (tensor for tensor in model.graph.initializer if tensor.data_type in _FLOATS)
    return sum(math.prod(tensor.dims) for tensor in weights if tensor.name not in statistics)
