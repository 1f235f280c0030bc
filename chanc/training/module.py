"""The only way from a graph to something that trains.

model -> normal form -> float32 -> shapes -> tail cut -> head cut -> channels first -> module, weights bound
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import Tensor, nn

from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends.torch import Built, build
from chanc.backends.torch.tail import Tail, cut_tail
from chanc.errors import ModelError
from chanc.ir import copy_model
from chanc.ir.normalize import normalize
from chanc.training.head import end_at_logits
from chanc.training.task import Outputs, Task
from chanc.transforms import channels_first, full_precision

Run = Callable[..., Tensor | Sequence[Tensor | None]]
_QUANTISED = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4)


@dataclass(frozen=True)
class Trainable:
    """A module whose inputs and outputs go by the names of the graph that it was made from.

    built: the module, its source, and where each of its entries comes from. graph: what it was built from. inputs,
    outputs: names in the original graph, in the order of the module's own; an output whose head was cut has the name
    of what the head makes, and in place of what PyTorch can't express there is what that reads. run: what is called in
    the module's place (compiled, or shared among processes).
    """

    built: Built
    graph: ir.Model
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Run | None = None

    @property
    def module(self) -> nn.Module:
        """What trains: parameters, statistics, modes."""
        return self.built.module

    def forward(self, inputs: Mapping[str, Tensor]) -> Outputs:
        """Run a batch, [B, ...] an input; an output that is None is left out."""
        result = (self.run or self.module)(*(inputs[name] for name in self.inputs))
        found = (result,) if isinstance(result, Tensor) else result
        return {name: value for name, value in zip(self.outputs, found, strict=True) if value is not None}

    def through(self, run: Run) -> Trainable:
        """The same network, called by way of `run`."""
        return dataclasses.replace(self, run=run)

    def write_back(self, model: ir.Model) -> None:
        """Copy what was trained into the initializers of `model`, the one that this was made of."""
        self.built.write_back(model)


def trainable(model: ir.Model, task: Task) -> Trainable:
    """`model` as a module in evaluation mode with its weights, made for the loss of `task`; the model stays as it is.

    Of a model in half precision the module holds copies in float32, which are rounded when they are written back.

    Raises: ModelError for what PyTorch can't express and weights are behind, naming the node.
    """
    twin, _ = ended(model)
    outputs = tuple(value.name or "" for value in twin.graph.outputs)
    if task.takes_logits:
        end_at_logits(twin.graph)
    built, graph = _built_channels_first(twin, model) or (build(twin), twin)
    inputs = [value.name or "" for value in model.graph.inputs if value.name not in model.graph.initializers]
    return Trainable(built, graph, tuple(inputs), outputs)


def ended(model: ir.Model) -> tuple[ir.Model, Tail | None]:
    """A copy of `model`, in float32 with shapes, up to where PyTorch can't express it, and what is left out.

    Raises: ModelError for what PyTorch can't express and weights are behind, naming the node.
    """
    twin = copy_model(model)
    normalize(twin)
    full_precision(twin)
    infer_shapes(twin)
    return twin, cut_tail(twin)


def untrained(model: ir.Model) -> list[str]:
    """Lines on what a training of `model` leaves as it is: quantised weights, and an end that stays in ONNX."""
    count = sum(
        value.dtype in _QUANTISED and value.shape is not None and len(value.shape) > 1
        for value in model.graph.initializers.values()
    )
    said = [f"{count} quantised weights stay as they are: train the float model and quantise it again"] if count else []
    _, tail = ended(model)
    return [*said, str(tail)] if tail is not None else said


def to_device(net: Trainable, device: torch.device) -> Trainable:
    """The same network with its module moved to the device, in place, channels-last."""
    net.module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def _built_channels_first(twin: ir.Model, model: ir.Model) -> tuple[Built, ir.Model] | None:
    """The module of the twin without Transposes inside; None where that changes nothing, or `model` isn't found back.

    Raises: ModelError for a model that PyTorch can't express.
    """
    moved = copy_model(twin)
    # Vectors that become [C, 1, 1] are written back as they are; the numbers of other weights must keep their order.
    if not channels_first(moved, reorder=False):
        return None
    built = build(moved)
    try:
        built.write_back(copy_model(model))
    except ModelError:
        return None
    return built, moved
