"""One big training over several processes (torchrun), with the very results of a single process.

Every process sees the same batches. Of a batch [B, C, H, W] process r of R runs its B/R images, the outputs of all are
put together again, and everything behind them (loss, clipping, optimizer, averages, evaluation) is the same everywhere.
With L the mean loss of the whole batch, process r has the part of its gradient that goes through its own images,

    dL/dw = sum_r dL/dy_r dy_r/dw

which DistributedDataParallel sums up while the backward pass runs; norms take their statistics over all processes.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Iterator
from typing import Any, Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from chanc.errors import RunError
from chanc.training.devices import pick_device
from chanc.training.module import Trainable, to_device
from chanc.training.options import TrainOptions

# Buffers are the same everywhere without it; the option has two names, the old one warns.
_TAKES = inspect.signature(DistributedDataParallel).parameters
_NO_BROADCAST: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in _TAKES else "broadcast_buffers": False
}


def processes() -> int:
    """How many processes torchrun has started for this training; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def joined(device: str) -> Iterator[int]:
    """Join the other processes of torchrun, on this one's GPU where the device is CUDA; yields the rank.

    Raises: RunError where this machine has fewer GPUs than processes.
    """
    kind = pick_device(device).type
    if kind == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise RunError(f"torchrun has started more processes than the {torch.cuda.device_count()} GPUs here")
        torch.cuda.set_device(local)
    _stay_here()
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield dist.get_rank()
        # One that leaves early takes its connections along, while the others still use them.
        dist.barrier()
    finally:
        dist.destroy_process_group()


def _stay_here() -> None:
    """Have processes that are all on this machine listen on its loopback alone, where the user says nothing else."""
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE"):
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")


def together(net: Trainable, options: TrainOptions) -> Trainable:
    """The network shared among all processes, within `joined`; trained in every one at once, all get the same result.

    The module's norms are replaced by such as count over all processes; its state_dict keeps its names. Dropout masks
    are drawn for each process's part. A checkpoint may be gone on from with any number of processes.
    """
    device = pick_device(options.device)
    with_shared_norms(to_device(net, device).module, device)
    return net.through(Shared(net.module, device, options.compile))


class Shared:
    """Runs a whole batch through a module: this process's part of it, and then the outputs of all parts."""

    def __init__(self, module: nn.Module, device: torch.device, compiled: bool = False) -> None:
        devices = [device] if device.type == "cuda" else None
        inner = cast(nn.Module, torch.compile(module)) if compiled else module
        self.parallel = DistributedDataParallel(inner, device_ids=devices, **_NO_BROADCAST)

    def __call__(self, *inputs: Tensor) -> list[Tensor | None]:
        """Inputs [B, ...], the same in every process, to outputs [B, ...]."""
        rank, processes = dist.get_rank(), dist.get_world_size()
        sizes = [len(part) for part in inputs[0].tensor_split(processes)]
        result = self.parallel(*(value.tensor_split(processes)[rank] for value in inputs))
        found = [result] if isinstance(result, Tensor) else result
        return [_gathered(output, sizes) if output is not None else None for output in found]


def with_shared_norms(module: nn.Module, device: torch.device) -> nn.Module:
    """Replace every BatchNorm by one whose training statistics count over all processes; values and names stay."""
    if device.type == "cuda":
        shared: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return shared
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, _SharedNorm(child))
        else:
            with_shared_norms(child, device)
    return module


class _SharedNorm(_BatchNorm):
    """nn.SyncBatchNorm for the CPU, which torch has for GPUs only."""

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        for name, parameter in norm.named_parameters(recurse=False):
            setattr(self, name, parameter)
        for name, buffer in norm.named_buffers(recurse=False):
            setattr(self, name, buffer)
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        return None

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, ...], this process's part, to the same shape."""
        if not self.training:
            return super().forward(input)
        axes = [0, *range(2, input.dim())]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        count = _sum(input.new_tensor(float(input.numel() // input.shape[1])))
        mean = _sum(input.sum(axes)) / count
        centred = input - mean.view(shape)
        variance = _sum(centred.square().sum(axes)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        result: Tensor = centred * (variance + self.eps).rsqrt().view(shape)
        return result * self.weight.view(shape) + self.bias.view(shape) if self.affine else result

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def _gathered(part: Tensor, sizes: list[int]) -> Tensor:
    whole: Tensor = _Gather.apply(part, sizes)  # type: ignore[no-untyped-call]
    return whole


def _sum(part: Tensor) -> Tensor:
    whole: Tensor = _Sum.apply(part)  # type: ignore[no-untyped-call]
    return whole


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: object, part: Tensor) -> Tensor:
        whole = part.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        whole = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(whole)
        return whole


class _Sizes(Protocol):
    """What `_Gather` remembers: how many samples each process has."""

    sizes: list[int]


class _Gather(torch.autograd.Function):
    """The parts of all processes, [b_r, ...] each, one behind the other."""

    @staticmethod
    def forward(ctx: _Sizes, part: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        padded = part.new_zeros(max(sizes), *part.shape[1:])
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([whole[:size] for whole, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: _Sizes, *gradients: Tensor) -> tuple[Tensor, None]:
        # DistributedDataParallel divides by the number of processes what is a sum here.
        own = torch.split(gradients[0], ctx.sizes)[dist.get_rank()]
        return own * len(ctx.sizes), None
