"""Samples in turns through a module: where its model takes a fixed batch only, or knows of none.

Norms keep their statistics there: those of a single sample say nothing of others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Said = Sequence[Tensor | None]
"""What a module says, output by output."""


@contextlib.contextmanager
def settled(module: nn.Module) -> Iterator[None]:
    """No BatchNorm looks at the samples meanwhile."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm) and norm.training]
    for norm in norms:
        norm.eval()
    yield
    for norm in norms:
        norm.train()


def joined(turns: Sequence[Said], batch: int | None, count: int) -> list[Tensor | None]:
    """The outputs of all samples, [N, ...] each, from those of each turn.

    batch: samples a turn, the last ones filled up; None where a turn is one sample that has no axis of its own.

    Raises: ValueError for an output of which several samples have no part of their own, or another size each.
    """
    return [_joined(parts, batch, count) for parts in zip(*turns, strict=True)]


def _joined(parts: Said, batch: int | None, count: int) -> Tensor | None:
    known = [part for part in parts if part is not None]
    if not known:
        return None
    if batch is not None and all(part.ndim and len(part) == batch for part in known):
        return torch.cat(known)[:count]
    if batch not in (None, 1):
        raise ValueError(f"an output is {list(known[0].shape)} for {batch} samples at once")
    if len({part.shape for part in known}) > 1:
        raise ValueError("an output has another size for each sample")
    return torch.stack(known)
