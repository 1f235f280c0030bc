"""torch's two ONNX exporters, each with the options that keep BatchNorm and parameter names.

TorchScript: an eval-mode module traced with training PRESERVE, no constant folding (it folds BatchNorm), and the
initializers declared as inputs, which is the one public way to keep it from aliasing equal tensors (fresh running
means) through Identity nodes. Dynamo: unoptimised, then onnxscript's constant folding and default rewrite rules
without those that fuse BatchNorm.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx

from chanc import plugins
from chanc.errors import ModelError
from chanc.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

_TORCHSCRIPT_OPSETS = range(7, 21)
_DYNAMO_OPSETS = range(18, 27)


@dataclass(frozen=True)
class Request:
    """What to export: a module in eval mode and the inputs to trace it with."""

    module: nn.Module
    args: tuple[Tensor, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    dynamic_batch: bool
    opset: int | None  # None: the exporter's default
    open_axes: tuple[Mapping[int, str], ...] = ()  # of each input, besides the batch: {axis: name}

    def axes(self) -> dict[str, dict[int, str]]:
        """The open axes of each input, {input name: {axis: name}}."""
        named = dict(zip(self.input_names, self.open_axes or [{}] * len(self.args), strict=True))
        batched = [name for name, arg in zip(self.input_names, self.args, strict=True) if arg.ndim]
        return {
            name: {**({0: "batch"} if self.dynamic_batch and name in batched else {}), **more}
            for name, more in named.items()
        }


Exporter = Callable[[Request], onnx.ModelProto]
EXPORTERS: Registry[Exporter] = Registry("exporter", "chanc.exporters")
AUTO = ("torchscript", "dynamo")
"""Those that are tried in turn where none is named."""


@EXPORTERS.register("torchscript")
def torchscript(request: Request) -> onnx.ModelProto:
    """Export by tracing (torch.onnx.export with dynamo=False). Raises ModelError."""
    import torch

    opset = _opset(request.opset, 17, _TORCHSCRIPT_OPSETS, "TorchScript")
    outputs: dict[str, dict[int, str]] = {name: {0: "batch"} for name in request.output_names}
    axes = {**request.axes(), **(outputs if request.dynamic_batch else {})}
    buffer = io.BytesIO()
    with _quiet(), _as_written(), _failing_as_model_error("TorchScript"):
        torch.onnx.export(
            request.module,
            request.args,
            buffer,  # type: ignore[arg-type]  # the TorchScript exporter takes a file object
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            keep_initializers_as_inputs=True,
            opset_version=opset,
            input_names=list(request.input_names),
            output_names=list(request.output_names),
            dynamic_axes=axes,
        )
    model = onnx.load_from_string(buffer.getvalue())
    weights = {initializer.name for initializer in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


@EXPORTERS.register("dynamo")
def dynamo(request: Request) -> onnx.ModelProto:
    """Export by torch.export, then fold constants and rewrite, BatchNorm kept.

    Raises ModelError, and MissingDependencyError without onnxscript.
    """
    import torch

    plugins.require("onnxscript", "the dynamo exporter", "export")
    from onnxscript import optimizer, rewriter
    from onnxscript.rewriter.rules.common import _fuse_batchnorm

    opset = _opset(request.opset, 18, _DYNAMO_OPSETS, "dynamo")
    axes = request.axes()
    dims = {name: torch.export.Dim(name) for named in axes.values() for name in named.values()}
    shapes = tuple({axis: dims[name] for axis, name in axes[one].items()} for one in request.input_names)
    with _quiet(), _failing_as_model_error("dynamo"):
        program = torch.onnx.export(
            request.module,
            request.args,
            dynamo=True,
            optimize=False,
            verbose=False,
            opset_version=opset,
            input_names=list(request.input_names),
            output_names=list(request.output_names),
            dynamic_shapes=shapes if dims else None,
        )
        assert program is not None
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
        fusing = {id(rule) for rule in _fuse_batchnorm.rules}
        rules = [rule for rule in rewriter._DEFAULT_REWRITE_RULES if id(rule) not in fusing]
        model: onnx.ModelProto = _serialize(rewriter.rewrite(program.model, rules))
    return model


def _serialize(model: Any) -> Any:
    """To a protobuf, without the stack traces: they hold the paths of the exporting machine."""
    import onnx_ir

    for node in model.graph.all_nodes():
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    return onnx_ir.to_proto(model)


def _opset(asked: int | None, default: int, known: range, exporter: str) -> int:
    opset = default if asked is None else asked
    if opset not in known:
        raise ModelError(f"the {exporter} exporter writes opsets {known[0]} to {known[-1]}, not {opset}")
    return opset


@contextlib.contextmanager
def _as_written() -> Iterator[None]:
    """Keep TorchScript from merging equal subexpressions.

    It would join the ReLUs and poolings that branches of a cell have in common: MACs would no longer be those of the
    module, and branches that a search may want to tell apart would be one. No public option turns it off.
    """
    import torch

    internals: Any = torch._C
    merge = getattr(internals, "_jit_pass_cse", None)
    if merge is None:
        yield
        return
    internals._jit_pass_cse = lambda graph: False
    try:
        yield
    finally:
        internals._jit_pass_cse = merge


@contextlib.contextmanager
def _failing_as_model_error(exporter: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the exporters raise what comes, from the tracer down to protobuf
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        told = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise ModelError(f"the {exporter} exporter failed: {told}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes that a user can do nothing about: deprecations inside torch, torchvision not installed."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")

    def wanted(record: logging.LogRecord) -> bool:
        return "torchvision is not installed" not in record.getMessage()

    logger.addFilter(wanted)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are using the legacy TorchScript", DeprecationWarning)
            warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning)
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        logger.removeFilter(wanted)
