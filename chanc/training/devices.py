"""Torch's process-wide state: which device, which random numbers, which algorithms."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Literal

import torch

from chanc.errors import RunError
from chanc.training.options import TrainOptions

# cuDNN tries its algorithms for every shape of a convolution: with the many widths of a search that takes longer than
# what is won by it in a few epochs.
_LONG = 10


def pick_device(name: str) -> torch.device:
    """The device that a name of `TrainOptions.device` means. Raises: RunError for CUDA where there is none."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise RunError("device cuda was asked for, but torch sees none: use cpu or auto")
    if name == "cuda" or (name == "auto" and available):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def precision(options: TrainOptions) -> Literal["float32", "bfloat16"]:
    """What the forward pass of such a training computes in: bfloat16 autocast is for CUDA only."""
    return "bfloat16" if options.amp and pick_device(options.device).type == "cuda" else "float32"


@contextlib.contextmanager
def isolated(device: torch.device, options: TrainOptions) -> Iterator[None]:
    """Seeded random numbers and the algorithms that `options` ask for; the caller's own come back afterwards."""
    if options.deterministic:
        # cuBLAS reads it once, when its first handle is made.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(options.seed)
        try:
            torch.use_deterministic_algorithms(options.deterministic or deterministic, warn_only=warn_only)
            torch.backends.cudnn.benchmark = options.epochs >= _LONG and not (options.deterministic or deterministic)
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark
