"""PyTorch modules with random weights as ONNX models, written as users write them."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import onnx
import torch
from torch import Tensor, nn

Axes = Mapping[str, Mapping[int, str]]
BATCH = {0: "batch"}


def exported(
    make: Callable[[], nn.Module],
    inputs: Mapping[str, Tensor],
    *,
    axes: Axes | None = None,
    whole: bool = False,
    dynamo: bool = False,
    opset: int = 17,
    outputs: int = 1,
) -> onnx.ModelProto:
    """The module that `make` builds, stirred and in evaluation mode, exported at these inputs.

    axes: names of open axes by input (default: the first of each). whole: BatchNorm and constants stay as they are in
    the module; else torch folds them. dynamo: by the exporter on torch.export.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = make()
    stir(module)
    settle(module, tuple(inputs.values()))
    options: dict[str, Any] = {"dynamo": dynamo, "opset_version": 18 if dynamo else opset}
    if whole:
        options |= {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    named = ["y", *(f"y{k}" for k in range(1, outputs))]
    wanted = axes if axes is not None else dict.fromkeys(inputs, BATCH)
    if dynamo:
        options["dynamic_shapes"] = tuple(
            dict.fromkeys(wanted.get(name, {}), torch.export.Dim.DYNAMIC) for name in inputs
        )
    else:
        options["dynamic_axes"] = {name: dict(found) for name, found in wanted.items()} | dict.fromkeys(named, BATCH)
    buffer = io.BytesIO()
    with quiet(), torch.no_grad():
        made = torch.onnx.export(
            module,
            tuple(inputs.values()),
            None if dynamo else buffer,
            input_names=list(inputs),
            output_names=named,
            **options,
        )
    return made.model_proto if made is not None else onnx.load_from_string(buffer.getvalue())


def stir(module: nn.Module) -> None:
    """Random weights that keep activations alive through many layers, and show in every output."""
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if not value.is_floating_point() or name.rpartition(".")[2].startswith("fixed"):
            continue
        last = name.rpartition(".")[2]
        if value.dim() > 1:
            fan = value[0].numel() if value.dim() > 2 else value.shape[1]
            value.data.normal_(0.0, 1.3 * fan**-0.5)
        elif last in ("weight", "running_var", "gamma"):
            value.data.uniform_(0.5, 1.5)
        else:
            value.data.normal_(0.0, 0.3)


def settle(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Give BatchNorms the statistics of these inputs: else what the first layers do is lost behind many others."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            module.train()(*inputs)
    for norm in norms:
        norm.running_var.clamp_(min=0.05)
    module.eval()


def image(*shape: int) -> dict[str, Tensor]:
    """An input `x` [2, *shape]."""
    return {"x": torch.randn(2, *shape)}


@contextlib.contextmanager
def quiet() -> Any:
    """Without what the exporters print."""
    logger, level = logging.getLogger("torch.onnx"), logging.getLogger("torch.onnx").level
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.f = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


class Permute(nn.Module):
    """Axes in another order."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(*self.order)


def conv(
    a: int,
    b: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] | None = nn.ReLU,
    dilation: int = 1,
) -> nn.Sequential:
    """Conv, BatchNorm and an activation."""
    made = nn.Conv2d(a, b, kernel, stride, dilation * (kernel // 2), dilation, groups, bias=False)
    return nn.Sequential(made, nn.BatchNorm2d(b), *([act()] if act else []))


def head(width: int, classes: int = 10) -> nn.Sequential:
    """Global pooling and a linear layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
