"""Resizing a module in place: weights, statistics and optimizer state follow the axis maps of a rewrite.

    shrink: every tensor keeps the slices that the rewrite kept
    grow:   producer rows      the layer's own init (torch's `reset_parameters`)
            consumer columns   0, so that the function stays (but for norms across channels)
            normalisation      scale 1, shift 0, mean 0, variance 1
            momentum           0
            second moment      the mean of its layer

Tensors stay the same objects, so optimizers, hooks and schedules go on with them. A module whose forward holds a size
that changes (a Reshape, a Split) can't be resized; it is refused before anything is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import onnx_ir as ir
import torch
from torch import Tensor, nn

from chanc.backends.torch.build import Built, load
from chanc.backends.torch.resize_maps import Move, moves, resized_source
from chanc.backends.torch.tensors import to_torch
from chanc.errors import ModelError
from chanc.ir import load as load_model
from chanc.rewriter import Rewrite

GROW = ("init", "copy", "zero")
_SECOND_MOMENTS = frozenset(["exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum"])


class Averages(Protocol):
    """Running averages of a module's tensors, by their keys in its state_dict."""

    @property
    def shadow(self) -> Mapping[str, Tensor]:
        """The averages as they are."""

    def follow(self, module: nn.Module, shadow: Mapping[str, Tensor]) -> None:
        """Go on with the module's tensors of other shapes, from these averages."""


@dataclass(frozen=True)
class _Change:
    """One tensor of the module and its new value; `source` are flat positions in the old one, `new` has no old value.

    Both have the new shape.
    """

    tensor: Tensor
    value: Tensor
    source: Tensor
    new: Tensor

    def carried(self, old: Tensor, fill: Tensor) -> Tensor:
        """Another tensor of the old shape, carried along; `fill` (of the new shape or a number) for what is new."""
        taken = old.detach().reshape(-1)[self.source]
        return _format_of(old, torch.where(self.new, fill.to(old), taken))


@torch.no_grad()
def resize_module(
    built: Built,
    model: ir.Model,
    rewritten: Rewrite,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    ema: Averages | None = None,
    grow: str = "init",
) -> Built:
    """Give `built.module` the widths of `rewritten`, which is `rewrite(model, ...)`; `built` is `build(model)`.

    Values come from the module, not from the rewritten model. The state of `optimizer` and the averages of `ema`
    follow. `grow` says what new units start with: "init", their layer's own initialisation; "copy", the values of
    their source; "zero". Consumers of new units start with 0 in any case. Gradients of resized parameters are dropped;
    random values come from torch's generator. Returns what speaks of the module from now on: its source, and the
    bindings for `write_back` into the rewritten model. What was compiled or wrapped (DDP) has to be so again.

    Raises ModelError where the forward depends on a size that changes, naming the operator, or where a tensor can't be
    followed: the module is untouched then, and `build(rewritten.model)` is the way. ValueError for an unknown `grow`.
    """
    if grow not in GROW:
        raise ValueError(f"there is no way to grow called {grow!r}: choose one of {', '.join(GROW)}")
    source = resized_source(built.source, built.name, model, load_model(rewritten.model))
    skeleton = load(source)
    found = moves(model, rewritten.trace, built.bindings, source.bindings)
    changes = _changes(built.module, skeleton, found, grow)
    constants = {key: to_torch(array) for key, array in source.constants.items()}
    _check_shapes(built.module, skeleton, changes, constants)
    states = list(_optimizer_state(optimizer, changes))
    averages = _averages(ema, changes)
    for change in changes.values():
        _replace(change.tensor, change.value)
    live = _tensors(built.module)
    for key, value in constants.items():
        _replace(live[key], value.to(live[key]))
    for state, name, value in states:
        state[name] = value
    _copy_attributes(skeleton, built.module)
    if ema is not None:
        ema.follow(built.module, averages | {key: live[key].clone() for key in constants})
    return Built(built.module, source.text, source.bindings, built.name)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by key; a tied one under each of its keys."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return {**parameters, **dict(module.named_buffers(remove_duplicate=False))}


def _changes(module: nn.Module, skeleton: nn.Module, found: Mapping[str, Move], grow: str) -> dict[str, _Change]:
    live, fresh = _tensors(module), _Fresh(skeleton, grow)
    changes: dict[str, _Change] = {}
    for key, move in found.items():
        old = live[key]
        source, rows, columns = (torch.tensor(a, device=old.device) for a in (move.source, move.rows, move.columns))
        value = old.detach().reshape(-1)[source]
        if move.rows.any():
            value = torch.where(rows, fresh(key, value), value)
        value = _format_of(old, value.masked_fill(columns, 0))
        changes[key] = _Change(old, value, source, rows | columns)
    return changes


class _Fresh:
    """Initial values for the new shapes, layer by layer."""

    def __init__(self, skeleton: nn.Module, grow: str) -> None:
        self.skeleton, self.grow = skeleton, grow
        self.ready: set[str] = set()

    def __call__(self, key: str, taken: Tensor) -> Tensor:
        """New units' values for the entry `key`; `taken`: those of their sources, [new shape]."""
        path, _, name = key.rpartition(".")
        layer = self.skeleton.get_submodule(path)
        if self.grow == "copy" or not hasattr(layer, "reset_parameters"):
            return taken
        if self.grow == "zero" and not _is_norm(layer):
            return torch.zeros_like(taken)
        if path not in self.ready:
            layer.to_empty(device=taken.device, recurse=False)
            layer.reset_parameters()  # type: ignore[operator]
            self.ready.add(path)
        value: Tensor = getattr(layer, name)
        return value.detach().to(taken)


def _is_norm(layer: nn.Module) -> bool:
    # The other classes with vectors only (PReLU) start away from zero as well.
    return not any(parameter.ndim > 1 for parameter in layer.parameters(recurse=False))


def _check_shapes(
    module: nn.Module, skeleton: nn.Module, changes: Mapping[str, _Change], constants: Mapping[str, Tensor]
) -> None:
    """Every entry must get the shape that the emitted source gives it."""
    live, wanted = _tensors(module), _tensors(skeleton)
    if live.keys() != wanted.keys():
        raise ModelError("can't resize in place: the rewritten model has other parameters")
    for key, tensor in wanted.items():
        got = changes[key].value if key in changes else constants.get(key, live[key])
        if got.shape != tensor.shape:
            raise ModelError(f"can't resize in place: the rewrite does not say how {key} changes")


def _optimizer_state(
    optimizer: torch.optim.Optimizer | None, changes: Mapping[str, _Change]
) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    """State dicts of parameters, a name in them, and the new tensor."""
    done: set[int] = set()
    for key, change in changes.items():
        state = {} if optimizer is None else optimizer.state.get(change.tensor, {})
        if id(change.tensor) in done:
            continue
        done.add(id(change.tensor))
        for name, old in state.items():
            if not isinstance(old, Tensor) or old.ndim == 0:
                continue
            if old.shape != change.tensor.shape:
                raise ModelError(f"can't resize in place: the optimizer's {name} of {key} has a shape of its own")
            yield state, name, change.carried(old, old.mean() if name in _SECOND_MOMENTS else old.new_zeros(()))


def _averages(ema: Averages | None, changes: Mapping[str, _Change]) -> dict[str, Tensor]:
    """The averages for the new shapes; they start with the module's own values where there were none."""
    return {
        key: changes[key].carried(old, changes[key].value) if key in changes else old
        for key, old in (ema.shadow.items() if ema is not None else ())
    }


def _replace(tensor: Tensor, value: Tensor) -> None:
    """Another value and shape for the same object."""
    tensor.grad = None
    if tensor.requires_grad:
        # Where an old loss is still alive, autograd keeps the node that checks gradients against the old shape. It
        # forgets that node when the dtype changes, and only then.
        tensor.data = value.new_empty(0, dtype=torch.float16 if tensor.dtype != torch.float16 else torch.float32)
    tensor.data = value


def _format_of(old: Tensor, value: Tensor) -> Tensor:
    """The value in the memory format of `old`."""
    if old.ndim == 4 and not old.is_contiguous() and old.is_contiguous(memory_format=torch.channels_last):
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()


def _copy_attributes(skeleton: nn.Module, module: nn.Module) -> None:
    """Sizes that layers keep (in_channels, num_features, groups, ...), from the emitted module of the new widths."""
    for path, layer in skeleton.named_modules():
        live = module.get_submodule(path)
        for name, value in vars(layer).items():
            if not name.startswith("_") and name != "training" and isinstance(value, int | tuple):
                setattr(live, name, value)
