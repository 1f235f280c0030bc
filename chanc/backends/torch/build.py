"""`emit` writes a model as source; `build` makes the module from that source, with the weights loaded."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from chanc import plugins
from chanc.backends.torch.emitter import Emitter
from chanc.backends.torch.names import identifier
from chanc.backends.torch.program import Binding
from chanc.backends.torch.render import reached, render, settle_ties
from chanc.backends.torch.tail import Tail
from chanc.backends.torch.tensors import to_torch
from chanc.backends.torch.writeback import arrays_of, write_back
from chanc.boundary import boundary
from chanc.errors import ModelError
from chanc.ir.collector import uncollected

if TYPE_CHECKING:
    import torch
    from torch import nn

_SERIAL = itertools.count(1)


@dataclass(frozen=True)
class Source:
    """The text of a model.py and where each entry of its state_dict comes from."""

    name: str
    text: str
    bindings: dict[str, Binding]
    constants: dict[str, np.ndarray] = field(repr=False)
    """Buffers that hold what was folded while emitting: they have no initializer."""
    tail: Tail | None = None
    """What of the model stays in ONNX."""


@dataclass(frozen=True)
class Built:
    """A module made from emitted source; its training is brought home by `write_back`."""

    module: nn.Module
    source: str
    bindings: dict[str, Binding]
    name: str

    def write_back(self, model: ir.Model) -> None:
        """Copy parameters and buffers into the initializers of `model` that they came from; dtypes are kept."""
        write_back(self.module, self.bindings, model)


@boundary("writing PyTorch source")
@uncollected()
def emit(model: ir.Model, name: str = "Network", tail: Tail | None = None) -> Source:
    """Write `model`, of which `tail` was cut off, as stand-alone PyTorch source.

    Raises ModelError, which names the node that PyTorch can't express.
    """
    plugins.expect("torch", "PyTorch source", "torch")
    program = Emitter(model, identifier(name, "Network")).run()
    program.ends = [identifier(end, "output") for end in tail.ends] if tail is not None else []
    settle_ties(program)
    text = render(program)
    kept = reached(program)
    bindings = {key: binding for mid in kept for key, binding in program.submodules[mid].keys().items()}
    return Source(
        program.name, text, bindings, {key: program.constants[key] for key in bindings if key in program.constants},
        tail,
    )  # fmt: skip


def state_dict(source: Source, model: ir.Model) -> dict[str, torch.Tensor]:
    """The values of every state_dict entry of the emitted network, from the initializers of `model`."""
    import torch

    arrays = arrays_of(model, source.bindings)
    state = {
        key: to_torch(source.constants[key] if binding.constant else _tensor(key, binding, arrays[key]))
        for key, binding in source.bindings.items()
        if not binding.tied
    }
    state |= {key: state[binding.tied] for key, binding in source.bindings.items() if binding.tied}
    for key in list(state):
        if key.endswith("running_mean"):
            state[key.removesuffix("running_mean") + "num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    return state


def _tensor(key: str, binding: Binding, array: np.ndarray) -> np.ndarray:
    with boundary(f"'{key}' of the PyTorch source"):
        return binding.to_tensor(array)


def build(model: object, name: str = "Network") -> Built:
    """The model as an nn.Module in eval mode, weights loaded; its forward takes the graph's inputs in order.

    model: a path, ModelProto, onnx_ir.Model or gs.Graph, which stays as it is. Nothing is written to disk. Raises
    ModelError for a model that can't be read, and for what PyTorch can't express, naming the node.
    """
    torch = plugins.require("torch", "a module", "torch")
    from chanc.backends.torch.pointwise import guard

    model = _with_shapes(model)
    source = emit(model, name)
    module = load(source)
    guard(module)
    state = state_dict(source, model)
    for key in {binding.tied for binding in source.bindings.values() if binding.tied}:
        shared = torch.nn.Parameter(state[key])
        state |= {other: shared for other, binding in source.bindings.items() if key in (other, binding.tied)}
    fill(module, state)
    for key, parameter in module.named_parameters():
        parameter.requires_grad_(not source.bindings[key].constant)  # there is no way home for it
    return Built(module.eval(), source.text, source.bindings, source.name)


def fill(module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Make the tensors of `state` those of the module, which are on the meta device.

    It is `load_state_dict(state, assign=True)`, which looks through the whole state once for each submodule. Raises
    ModelError where the two don't fit, a defect of an emitter.
    """
    from torch.nn import Parameter

    wanted = module.state_dict(keep_vars=True)
    wrong = [key for key in {**wanted, **state} if key not in state or key not in wanted]
    wrong += [key for key in wanted if key in state and wanted[key].shape != state[key].shape]
    if wrong:
        raise ModelError(f"the module and its weights don't fit: {wrong[0]!r}")
    for key, tensor in state.items():
        path, _, name = key.rpartition(".")
        old = wanted[key]
        if isinstance(old, Parameter) and not isinstance(tensor, Parameter):
            tensor = Parameter(tensor, requires_grad=old.requires_grad)
        setattr(module.get_submodule(path), name, tensor)


def _with_shapes(model: object) -> ir.Model:
    """The model itself where all its shapes are there, else its normal form with shapes."""
    if isinstance(model, ir.Model) and all(value.shape is not None for node in model.graph for value in node.outputs):
        return model
    from chanc.analysis.infer_shapes import infer_shapes
    from chanc.ir import load
    from chanc.ir.normalize import normalize

    copy = load(model)
    normalize(copy)
    infer_shapes(copy)
    return copy


def load(source: Source) -> nn.Module:
    """The emitted network on the meta device, its weights not loaded; tracebacks show its source."""
    import torch

    filename = f"<chanc {source.name} {next(_SERIAL)}>"
    linecache.cache[filename] = (len(source.text), None, source.text.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": "chanc_generated"}
    exec(compile(source.text, filename, "exec"), namespace)
    with torch.device("meta"):
        module: nn.Module = namespace[source.name]()
    return module


__all__ = ["Binding", "Built", "ModelError", "Source", "build", "emit", "load", "state_dict"]
