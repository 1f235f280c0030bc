"""PyTorch to ONNX for channel work: BatchNorm kept, parameters under their state_dict names, a dynamic batch.

Both of torch's exporters write what the analysis needs only with the right options. TorchScript's is quick but
deprecated; the one on torch.export (dynamo) is its heir, takes seconds, and needs onnxscript. The default tries them in
this order. It checks every file by a run in onnxruntime against the module, at another batch than the traced one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx
import torch
from torch import Tensor, nn

from chanc import plugins
from chanc.errors import ChancError, MissingDependencyError, ModelError, VerifyError
from chanc.files import atomic_write, open_regular
from chanc.frontends.exported import Exported, checked, described, run_beside
from chanc.frontends.exporters import AUTO, EXPORTERS, Exporter, Request

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Exported", "export", "load_weights"]


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
    open_axes: Sequence[Mapping[int, str]] = (),
) -> Exported:
    """Write `module`, in eval mode, as ONNX to `path`; the module's mode and torch's random state stay as they were.

    `example_inputs` are its positional arguments, batch first. `exporter` is "torchscript", "dynamo" or "auto": the
    first, and the second where the first fails. `opset` is 7 to 20 for TorchScript (default 17), from 18 for dynamo
    (default 18). More inputs or outputs than names get numbered names. With `dynamic_batch` the first axis of every
    input and output is named "batch", unless the module runs at the batch of its example only. `open_axes` names more
    axes of each input that stay open, {axis: name}.

    Raises ModelError where the module does not run on the inputs or can't be exported, VerifyError where onnxruntime
    computes something else than torch (more than 1e-4 of the largest output), MissingDependencyError without
    onnxruntime or onnxscript, OSError where `path` can't be written. Nothing is written then.
    """
    chosen = {exporter: EXPORTERS[exporter]} if exporter != "auto" else {name: EXPORTERS[name] for name in AUTO}
    args = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    with _quiet_state(module), torch.no_grad():
        outputs = _run(module, args)
        fixed = dynamic_batch and not _runs(module, _at_batch(args, _batch(args) + 1))
        dynamic_batch = dynamic_batch and not fixed
        request = Request(
            module,
            _at_batch(args, max(2, _batch(args))) if dynamic_batch else args,
            _numbered(input_names, len(args)),
            _numbered(output_names, len(outputs)),
            dynamic_batch,
            opset,
            tuple(open_axes),
        )
        model, data, about = _first_that_works(request, chosen)
        if fixed:
            fixed_note = f"the batch stays {_batch(args)}: the module runs at no other"
            about["note"] = "; ".join(filter(None, (about["note"], fixed_note)))
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)
    params = sum(parameter.numel() for parameter in module.parameters())
    return described(path, model, params=params, **about)


def load_weights(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Fill a module with a state_dict from a .safetensors file, or from one that `torch.save` wrote (.pt, .pth, .bin).

    Of the latter weights alone are read: no pickle runs anything. Raises ModelError where the two don't fit,
    MissingDependencyError without safetensors, OSError.
    """
    open_regular(path).close()  # the readers themselves would wait for a pipe's other end
    tensors = _pickled(path) if os.fspath(path).endswith((".pt", ".pth", ".bin")) else _safetensors(path)
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


def _safetensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    plugins.require("safetensors", "reading weights", "torch")
    import safetensors.torch

    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file: {error}") from error


def _pickled(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """A state_dict, or the one of a checkpoint that has it under `state_dict` or `model`."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what comes, and advises to run the pickle
        raise ModelError(f"{path} holds more than weights, or is no file of torch.save") from error
    for key in ("state_dict", "model"):
        found = found[key] if isinstance(found, dict) and isinstance(found.get(key), dict) else found
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ModelError(f"{path} holds no state_dict")
    return found


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


def _first_that_works(
    request: Request, exporters: Mapping[str, Exporter]
) -> tuple[onnx.ModelProto, bytes, dict[str, Any]]:
    failures: list[ChancError] = []
    for name, export_by in exporters.items():
        try:
            model = export_by(request)
            data = checked(model)
            difference = _difference(data, request)
        except (ModelError, VerifyError, MissingDependencyError) as error:
            failures.append(error)
            continue
        note = f"{failures[0]}; used the {name} exporter" if failures else ""
        return model, data, {"exporter": name, "note": note, "difference": difference}
    if len(failures) == 1:
        raise failures[0]
    raise ModelError("; ".join(str(error) for error in failures))


def _difference(data: bytes, request: Request) -> float:
    """Run the model beside the module, at another batch than the traced one where that may be. Raises VerifyError."""
    args = request.args if not request.dynamic_batch else _at_batch(request.args, _batch(request.args) + 1)
    larger = tuple(_doubled(arg, axes) for arg, axes in zip(args, request.open_axes or [{}] * len(args), strict=True))
    args = larger if request.open_axes and _runs(request.module, larger) else args
    outputs = dict(zip(request.output_names, map(_array, _run(request.module, args)), strict=True))
    return run_beside(data, dict(zip(request.input_names, map(_array, args), strict=True)), outputs, "torch")


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _run(module: nn.Module, args: tuple[Tensor, ...]) -> list[Tensor]:
    try:
        result = module(*args)
    except Exception as error:  # a user's module may raise anything
        shapes = ", ".join(str(list(arg.shape)) for arg in args)
        raise ModelError(f"the module fails on inputs of shape {shapes}: {plugins.told(error)}") from error
    outputs, _ = torch.utils._pytree.tree_flatten(result)
    if not outputs or not all(isinstance(output, Tensor) for output in outputs):
        raise ModelError("the module's outputs are not all tensors")
    return outputs


def _runs(module: nn.Module, args: tuple[Tensor, ...]) -> bool:
    try:
        _run(module, args)
    except ModelError:
        return False
    return True


def _doubled(arg: Tensor, axes: Mapping[int, str]) -> Tensor:
    """Twice the size along axes."""
    for axis in axes:
        arg = torch.cat([arg, arg], dim=axis)
    return arg


def _batch(args: tuple[Tensor, ...]) -> int:
    return next((arg.shape[0] for arg in args if arg.ndim), 1)


def _at_batch(args: tuple[Tensor, ...], batch: int) -> tuple[Tensor, ...]:
    """The same inputs with their rows repeated up to `batch`; torch.export takes a batch of one for a constant."""
    return tuple(arg[torch.arange(batch) % arg.shape[0]] if arg.ndim else arg for arg in args)


def _numbered(names: Sequence[str], count: int) -> tuple[str, ...]:
    more = (f"{names[-1]}_{index}" for index in range(1, count - len(names) + 1))
    return (*names[:count], *more)
