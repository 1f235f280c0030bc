"""Accuracy and loss of a module on labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from chanc.data.batches import Batches
from chanc.errors import DataError

EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Evaluation:
    """top1: correct answers over images, 0..1; loss: mean cross-entropy, in nats, without label smoothing."""

    top1: float
    loss: float


def evaluate(
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    amp: bool = False,
) -> Evaluation:
    """Run `module` in evaluation mode over uint8 images [N, C, H, W] on its device, and leave it in that mode.

    amp: bfloat16 autocast.
    """
    return evaluate_batches(module, Batches(images, labels, EVALUATION_BATCH, mean, std), amp=amp)


def evaluate_batches(module: nn.Module, batches: Batches, *, amp: bool = False) -> Evaluation:
    """As `evaluate`, over batches in stored order."""
    module.eval()
    device = batches.labels.device
    correct = torch.zeros((), dtype=torch.int64, device=device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=amp):
        for images, labels in batches:
            logits = outputs(module(images))[0].float()
            loss += functional.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
    return Evaluation(int(correct) / len(batches.labels), float(loss) / len(batches.labels))


def outputs(result: Any) -> tuple[Tensor, ...]:
    """The main output [B, classes] first, then those of auxiliary heads."""
    if isinstance(result, Tensor):
        return (result,)
    return tuple(output for output in result if output is not None)


def check_outputs(logits: Tensor, classes: int, name: str) -> None:
    """Raises: DataError where the model's main output does not have one column a class."""
    if logits.ndim != 2 or logits.shape[1] != classes:
        shape = "x".join(str(extent) for extent in logits.shape[1:])
        raise DataError(f"{name} has {classes} classes, the model's output is {shape} an image")
