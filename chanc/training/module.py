"""The only way from a graph to something that trains.

model -> normal form -> float32 -> shapes -> tail cut -> batch opened -> head cut -> float masters -> channels first ->
module, weights bound
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir
import torch
from torch import Tensor, nn

from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends.torch import Built, build
from chanc.backends.torch.tail import Tail, cut_tail
from chanc.errors import ModelError
from chanc.ir import copy_model
from chanc.ir.normalize import normalize
from chanc.ir.turns import Turns
from chanc.training.head import end_at_logits
from chanc.training.task import Outputs, Task
from chanc.training.turns import Said, joined, settled
from chanc.transforms import Master, channels_first, float_masters, full_precision, in_floats, open_batch

Run = Callable[..., Tensor | Sequence[Tensor | None]]
ANY = Turns({}, None)
"""Any number of samples at a time."""
_QUANTISED = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4)


@dataclass(frozen=True)
class Trainable:
    """A module whose inputs and outputs go by the names of the graph that it was made from.

    built: the module, its source, and where each of its entries comes from. graph: what it was built from. inputs,
    outputs: names in the original graph, in the order of the module's own; an output whose head was cut has the name
    of what the head makes, and in place of what PyTorch can't express there is what that reads. run: what is called in
    the module's place (compiled, or shared among processes). masters: how quantised weights, which are floats here, are
    quantised again when they go home, by their names. heads: outputs whose Softmax was cut, each with the axis of its
    classes. turns: how many samples it takes at a time.
    """

    built: Built
    graph: ir.Model
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Run | None = None
    masters: Mapping[str, Master] = field(default_factory=dict)
    heads: Mapping[str, int] = field(default_factory=dict)
    turns: Turns = ANY

    @property
    def module(self) -> nn.Module:
        """What trains: parameters, statistics, modes."""
        return self.built.module

    def forward(self, inputs: Mapping[str, Tensor]) -> Outputs:
        """Run a batch, [B, ...] an input, at once or in turns; an output that is None is left out.

        Raises: ValueError for outputs of which each sample in turn has no part of its own.
        """
        whole, batch = self.turns.whole(inputs), self.turns.batch
        if whole or batch is not None:
            with settled(self.module):
                said = [self._run(part) for part in self.turns.parts(inputs)]
            found: Said = joined(said, None if whole else batch, len(inputs[self.inputs[0]]))
        else:
            found = self._run(inputs)
        return {name: value for name, value in zip(self.outputs, found, strict=True) if value is not None}

    def _run(self, inputs: Mapping[str, Tensor]) -> Said:
        result = (self.run or self.module)(*(inputs[name] for name in self.inputs))
        return (result,) if isinstance(result, Tensor) else result

    def through(self, run: Run) -> Trainable:
        """The same network, called by way of `run`."""
        return dataclasses.replace(self, run=run)

    def write_back(self, model: ir.Model) -> None:
        """Copy what was trained into the initializers of `model`, the one that this was made of."""
        _write_back(self.built, model, self.masters)


def _write_back(built: Built, model: ir.Model, masters: Mapping[str, Master]) -> None:
    with in_floats(model, masters):
        built.write_back(model)


def trainable(model: ir.Model, task: Task) -> Trainable:
    """`model` as a module in evaluation mode with its weights, made for the loss of `task`; the model stays as it is.

    Of a model in half precision the module holds copies in float32, which are rounded when they are written back; of
    quantised weights it holds floats, which are quantised again.

    Raises: ModelError for what PyTorch can't express and weights are behind, naming the node.
    """
    twin, _ = ended(model)
    turns = Turns.of(model)
    if (opened := open_batch(twin)) is not None:
        twin, turns = opened, Turns(turns.ranks, None, turns.open)
    outputs = tuple(value.name or "" for value in twin.graph.outputs)
    heads = end_at_logits(twin.graph) if task.takes_logits else {}
    masters = float_masters(twin, list(model.graph.initializers))
    built, graph = _built_channels_first(twin, model, masters) or (build(twin), twin)
    inputs = [value.name or "" for value in model.graph.inputs if value.name not in model.graph.initializers]
    named = {outputs[number]: axis for number, axis in heads.items()}
    return Trainable(built, graph, tuple(inputs), outputs, masters=masters, heads=named, turns=turns)


def ended(model: ir.Model) -> tuple[ir.Model, Tail | None]:
    """A copy of `model`, in float32 with shapes, up to where PyTorch can't express or train it, and what is left out.

    Raises: ModelError for what PyTorch can't express and weights are behind, naming the node.
    """
    twin = copy_model(model)
    normalize(twin)
    full_precision(twin)
    infer_shapes(twin)
    return twin, cut_tail(twin, training=True)


def remarks(model: ir.Model) -> list[str]:
    """Lines on what a training does with quantised weights of `model`, and on an end that stays in ONNX."""
    twin, tail = ended(model)
    masters = float_masters(twin, list(model.graph.initializers))
    weights = {
        name: name in masters for name, value in model.graph.initializers.items()
        if value.dtype in _QUANTISED and value.shape is not None and len(value.shape) > 1
    }  # fmt: skip
    trained, left = sum(weights.values()), sum(not known for known in weights.values())
    said = [f"{trained} quantised weights are trained as floats and quantised again at their scales"] if trained else []
    said += [f"{left} quantised weights stay as they are: train the float model and quantise it again"] if left else []
    return [*said, str(tail)] if tail is not None else said


def draw_anew(module: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Module) -> None:
    """Reset the layers of these kinds, in place, to PyTorch's default initialisation."""
    for layer in module.modules():
        reset = getattr(layer, "reset_parameters", None)
        if reset is not None and isinstance(layer, kinds):
            reset()


def to_device(net: Trainable, device: torch.device) -> Trainable:
    """The same network with its module moved to the device, in place, channels-last."""
    net.module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def _built_channels_first(
    twin: ir.Model, model: ir.Model, masters: Mapping[str, Master]
) -> tuple[Built, ir.Model] | None:
    """The module of the twin without Transposes inside; None where that changes nothing, or `model` isn't found back.

    Raises: ModelError for a model that PyTorch can't express.
    """
    moved = copy_model(twin)
    # Vectors that become [C, 1, 1] are written back as they are; the numbers of other weights must keep their order.
    if not channels_first(moved, reorder=False):
        return None
    built = build(moved)
    try:
        _write_back(built, copy_model(model), masters)
    except ModelError:
        return None
    return built, moved
