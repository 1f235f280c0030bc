"""Drop-path and spatial dropout: branches (`chanc.training.branches`) are left out at random, in training only.

    y -> y k / (1 - p),    k ~ Bernoulli(1 - p): one a sample (drop-path), or one a sample and channel (spatial dropout)

Larsson et al. 2017, as DARTS has it: the rate p of drop-path rises linearly, epoch by epoch, from 0. Tompson et al.
2015: spatial dropout has one rate throughout. Both are hooks on layers: the network's own code stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from chanc.errors import ModelError
from chanc.training.branches import branches
from chanc.training.module import Trainable

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]


class Dropping:
    """Hooks on the layers of a network, in place until `remove`; masks come from torch's generator.

    drop_path: its rate at the end of the rise; spatial: the rate of spatial dropout. Raises: ModelError where a rate is
    above 0 and the network has no branch.
    """

    def __init__(self, net: Trainable, *, drop_path: float = 0.0, spatial: float = 0.0) -> None:
        self.drop_path = drop_path
        # A tensor: another rate is no other program, for torch.compile or for a CUDA graph.
        self.rate = torch.zeros((), device=next(net.module.parameters()).device)
        self._hooks = [
            net.module.get_submodule(path).register_forward_hook(hook)
            for rate, concats, hook in (
                (drop_path, False, _dropping(self.rate, _per_sample)),
                (spatial, True, _dropping(torch.full_like(self.rate, spatial), _per_channel)),
            )
            if rate > 0
            for path in droppable(net, concats=concats)
        ]

    def at(self, share: float) -> None:
        """Set the rate of drop-path for what is trained next; `share`: of the whole training that is done, 0 to 1."""
        self.rate.fill_(self.drop_path * share)

    def remove(self) -> None:
        """Leave the network as it was."""
        for hook in self._hooks:
            hook.remove()


def droppable(net: Trainable, *, concats: bool = False) -> list[str]:
    """The paths of `branches`; raises ModelError where there are none."""
    found = branches(net.built, net.graph.graph, concats=concats)
    if not found:
        raise ModelError("the model has no branches for drop-path or spatial dropout: no sum in it has an operand that "
                         "ends in a layer and that nothing else reads")  # fmt: skip
    return found


def _dropping(rate: Tensor, masked: Callable[[nn.Module, Tensor], list[int]]) -> Hook:
    def drop(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if not layer.training:
            return None
        kept = torch.rand(masked(layer, output), device=output.device) >= rate
        return output * (kept / (1 - rate)).to(output.dtype)

    return drop


def _per_sample(layer: nn.Module, output: Tensor) -> list[int]:
    """The shape of a mask: one number a sample."""
    return [len(output), *[1] * (output.dim() - 1)]


def _per_channel(layer: nn.Module, output: Tensor) -> list[int]:
    """The shape of a mask: one number a sample and channel."""
    shape = _per_sample(layer, output)
    axis = -1 if isinstance(layer, nn.Linear | nn.LayerNorm) else 1
    shape[axis] = output.size(axis)
    return shape
