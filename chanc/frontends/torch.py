"""PyTorch to ONNX for channel work: BatchNorm kept, parameters under their state_dict names, a dynamic batch.

Both of torch's exporters write what the analysis needs only with the right options. TorchScript's is quick but
deprecated; the one on torch.export (dynamo) is its heir, takes seconds, and needs onnxscript. The default tries them in
this order. It checks every file by a run in onnxruntime against the module, at another batch than the traced one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from chanc import plugins
from chanc.errors import ChancError, MissingDependencyError, ModelError, VerifyError
from chanc.files import atomic_write, open_regular
from chanc.frontends.exporters import AUTO, EXPORTERS, Exporter, Request

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Exported", "export", "load_weights"]

MAX_IR = 13  # the newest that onnxruntime 1.31 reads
TOLERANCE = 1e-4  # of the largest output


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    path: Path
    exporter: str  # "torchscript" or "dynamo"
    opset: int
    params: int  # trainable parameters
    inputs: dict[str, tuple[int | str, ...]]  # name: shape, a word for a dynamic axis
    outputs: dict[str, tuple[int | str, ...]]
    note: str  # why the first exporter was not used; empty where it was


def export(
    module: nn.Module,
    example_inputs: Tensor | Sequence[Tensor],
    path: str | os.PathLike[str],
    *,
    exporter: str = "auto",
    opset: int | None = None,
    input_names: Sequence[str] = ("input",),
    output_names: Sequence[str] = ("output",),
    dynamic_batch: bool = True,
) -> Exported:
    """Write `module`, in eval mode, as ONNX to `path`; the module's mode and torch's random state stay as they were.

    `example_inputs` are its positional arguments, batch first. `exporter` is "torchscript", "dynamo" or "auto": the
    first, and the second where the first fails. `opset` is 7 to 20 for TorchScript (default 17), from 18 for dynamo
    (default 18). More inputs or outputs than names get numbered names. With `dynamic_batch` the first axis of every
    input and output is named "batch".

    Raises ModelError where the module does not run on the inputs or can't be exported, VerifyError where onnxruntime
    computes something else than torch (more than 1e-4 of the largest output), MissingDependencyError without
    onnxruntime or onnxscript, OSError where `path` can't be written. Nothing is written then.
    """
    chosen = {exporter: EXPORTERS[exporter]} if exporter != "auto" else {name: EXPORTERS[name] for name in AUTO}
    args = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    with _quiet_state(module), torch.no_grad():
        outputs = _run(module, args)
        request = Request(
            module,
            _at_batch(args, max(2, _batch(args))) if dynamic_batch else args,
            _numbered(input_names, len(args)),
            _numbered(output_names, len(outputs)),
            dynamic_batch,
            opset,
        )
        model, data, used, note = _first_that_works(request, chosen)
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    return Exported(
        path=Path(path),
        exporter=used,
        opset=_opset(model),
        params=sum(parameter.numel() for parameter in module.parameters()),
        inputs={value.name: _shape(value) for value in model.graph.input},
        outputs={value.name: _shape(value) for value in model.graph.output},
        note=note,
    )


def load_weights(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Fill a module with a state_dict from a .safetensors file.

    Raises ModelError where the two don't fit, MissingDependencyError without safetensors, OSError.
    """
    plugins.require("safetensors", "reading weights", "torch")
    import safetensors.torch

    open_regular(path).close()  # safetensors itself would wait for a pipe's other end
    try:
        tensors = safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file: {error}") from error
    wanted = module.state_dict()
    # A safetensors file made from an ONNX model has no num_batches_tracked: nothing that runs reads it.
    missing = [name for name in wanted if name not in tensors and not name.endswith("num_batches_tracked")]
    unknown = [name for name in tensors if name not in wanted]
    if missing or unknown:
        what, name = ("lacks", missing[0]) if missing else ("has the unknown", unknown[0])
        raise ModelError(f"{path} does not fit the network: it {what} {name}")
    wrong = [name for name in tensors if tensors[name].shape != wanted[name].shape]
    if wrong:
        have, want = list(tensors[wrong[0]].shape), list(wanted[wrong[0]].shape)
        raise ModelError(f"{path} does not fit the network: {wrong[0]} has shape {have}, not {want}")
    module.load_state_dict(tensors, strict=False)


@contextlib.contextmanager
def _quiet_state(module: nn.Module) -> Iterator[None]:
    """Eval mode in every submodule, and torch's generators, put back at the end."""
    modes = {part: part.training for part in module.modules()}
    with torch.random.fork_rng():
        module.eval()
        try:
            yield
        finally:
            for part, training in modes.items():
                part.training = training


def _first_that_works(request: Request, exporters: Mapping[str, Exporter]) -> tuple[onnx.ModelProto, bytes, str, str]:
    failures: list[ChancError] = []
    for name, export_by in exporters.items():
        try:
            model = export_by(request)
            data = _checked(model)
            _compare(data, request)
        except (ModelError, VerifyError, MissingDependencyError) as error:
            failures.append(error)
            continue
        note = f"{failures[0]}; used the {name} exporter" if failures else ""
        return model, data, name, note
    if len(failures) == 1:
        raise failures[0]
    raise ModelError("; ".join(str(error) for error in failures))


def _checked(model: onnx.ModelProto) -> bytes:
    """Give the model an IR version that onnxruntime reads, check it, serialise it. Raises ModelError."""
    needed = onnx.helper.find_min_ir_version_for(model.opset_import, True)
    model.ir_version = min(MAX_IR, max(model.ir_version, needed))
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise ModelError("the exported model is larger than 2 GB, which one ONNX file can't hold")
    data: bytes = model.SerializeToString()
    try:
        onnx.checker.check_model(data)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the exported model is not valid ONNX: {_line(error)}") from error
    return data


def _compare(data: bytes, request: Request) -> None:
    """Run the model beside the module, at another batch than the traced one where that may be. Raises VerifyError."""
    args = request.args if not request.dynamic_batch else _at_batch(request.args, _batch(request.args) + 1)
    expected = [output.detach().cpu().numpy() for output in _run(request.module, args)]
    feeds = {name: arg.detach().cpu().numpy() for name, arg in zip(request.input_names, args, strict=True)}
    for name, want, got in zip(request.output_names, expected, _onnxruntime(data, feeds), strict=True):
        if want.shape != got.shape:
            raise VerifyError(f"{name} has shape {list(got.shape)} in onnxruntime and {list(want.shape)} in torch")
        scale = float(np.max(np.abs(want), initial=0.0)) or 1.0
        error = float(np.max(np.abs(got.astype(np.float64) - want.astype(np.float64)), initial=0.0)) / scale
        if not error <= TOLERANCE:
            raise VerifyError(f"{name} in onnxruntime differs from torch by {error:.1e} of its largest value")


def _onnxruntime(data: bytes, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError("checking an export needs onnxruntime: pip install 'chanc[cpu]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it would log what it raises
    options.intra_op_num_threads = 1  # for one small run, threads cost more than they save
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        # An input that the computation does not need may be absent from the graph.
        wanted = {value.name for value in session.get_inputs()}
        outputs: list[NDArray[Any]] = session.run(None, {name: feeds[name] for name in feeds if name in wanted})
    except Exception as error:  # onnxruntime's own exceptions share no public base
        raise VerifyError(f"onnxruntime can't run the exported model: {_line(error)}") from error
    return outputs


def _run(module: nn.Module, args: tuple[Tensor, ...]) -> list[Tensor]:
    try:
        result = module(*args)
    except Exception as error:  # a user's module may raise anything
        shapes = ", ".join(str(list(arg.shape)) for arg in args)
        raise ModelError(f"the module fails on inputs of shape {shapes}: {_line(error)}") from error
    outputs, _ = torch.utils._pytree.tree_flatten(result)
    if not outputs or not all(isinstance(output, Tensor) for output in outputs):
        raise ModelError("the module's outputs are not all tensors")
    return outputs


def _batch(args: tuple[Tensor, ...]) -> int:
    return next((arg.shape[0] for arg in args if arg.ndim), 1)


def _at_batch(args: tuple[Tensor, ...], batch: int) -> tuple[Tensor, ...]:
    """The same inputs with their rows repeated up to `batch`; torch.export takes a batch of one for a constant."""
    return tuple(arg[torch.arange(batch) % arg.shape[0]] if arg.ndim else arg for arg in args)


def _numbered(names: Sequence[str], count: int) -> tuple[str, ...]:
    more = (f"{names[-1]}_{index}" for index in range(1, count - len(names) + 1))
    return (*names[:count], *more)


def _opset(model: onnx.ModelProto) -> int:
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    return tuple(dim.dim_param or int(dim.dim_value) for dim in value.type.tensor_type.shape.dim)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
