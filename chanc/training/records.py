"""What a training run tells while it goes and when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor
from torch.optim.optimizer import StateDict

from chanc.metrics.quality import LayerQuality


@dataclass(frozen=True)
class StepInfo:
    """A finished optimiser step: epoch and step count from 0, `steps` an epoch; reading `loss` waits for the device."""

    epoch: int
    step: int
    steps: int
    loss: Tensor


@dataclass(frozen=True)
class EpochRecord:
    """A finished epoch, counted from 0.

    loss: mean training loss; score (the task's) and test_loss: on the held-out part, NaN where it wasn't judged; lr: at
    the epoch's start, the mean where layers differ; metrics: what `on_epoch` returned, JSON values; qualities: what
    AdaS measured of the weights that `on_epoch` is shown, by name, so that it need not measure them again. Only the
    record that `on_epoch` gets has it.
    """

    epoch: int
    loss: float
    score: float
    test_loss: float
    lr: float
    metrics: Mapping[str, object] = field(default_factory=dict)
    qualities: Mapping[str, LayerQuality] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainResult:
    """The epochs, the held-out score and loss of the last one, and what may be carried to another run.

    optimizer_state: the optimiser's state_dict; resumed_from: finished epochs found in the checkpoint; steps: optimiser
    steps of all epochs; precision: what the forward pass computed in.
    """

    history: tuple[EpochRecord, ...]
    score: float
    loss: float
    steps: int
    resumed_from: int
    optimizer_state: StateDict
    precision: Literal["float32", "bfloat16"]
