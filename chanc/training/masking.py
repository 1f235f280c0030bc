"""What a masked training is told and tells: units of choice, options, its policy, and the record of an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch

from chanc.cost.polynomial import Polynomial
from chanc.training.choices import Choices
from chanc.training.expected import Pressure
from chanc.training.latency import Table


@dataclass(frozen=True)
class Unit:
    """Groups that share one choice: the size of each, in the model as given, over that of the first, whose options are.

    start: the first group's width (channels); the options are multiples of `step` within `low` and `high`.
    """

    name: str
    shares: Mapping[str, float]
    start: int
    step: int
    low: int
    high: int


class Policy(Protocol):
    """Which options there are, and how they are parameterised."""

    def begin(self, units: Sequence[Unit], device: torch.device, level: float) -> Choices:
        """The choices before the first epoch; `level` times all starts costs what the search is held to."""

    def advance(self, choices: Choices, units: Sequence[Unit], epoch: int, epochs: int) -> None:
        """Make them ready for an epoch of so many."""


@dataclass(frozen=True)
class MaskOptions:
    """How masks are trained.

    split: the share of the training images that weights are trained on, masks on the others. turns: both by turns,
    step by step, or first all batches of the weights. mode: what a step sees, masks as they are or a width of each unit
    that is drawn. lr: of the masks.
    cost: what is priced where there is no target. latency: measured, where it is priced ("latency_ms").
    """

    pressure: Pressure
    split: float = 0.5
    turns: Literal["steps", "epochs"] = "steps"
    mode: Literal["soft", "sampled"] = "soft"
    lr: float = 0.1
    cost: Literal["macs", "params", "latency_ms"] = "macs"
    latency: Table | None = None


@dataclass(frozen=True)
class MaskedEpoch:
    """What an epoch showed, all widths in channels by unit.

    loss, masks_loss: the task's mean loss in steps of weights, and of masks; held_out and score: on the held-out part.
    low, high: the outermost borders of the range. widths: expected ones; means: what the choices are centred on;
    options and weights: the choices themselves, at the epoch's end. costs are expected ones, `targets` what they shall
    be, `pressures` lambda, what a cost
    counts beside the loss. supernet: params and MACs of the widest network; executed: MACs of all
    forward passes of the training. seconds by what they went into; peak: bytes, see `_peak`.
    """

    epoch: int
    loss: float
    masks_loss: float
    held_out: float
    score: float
    low: Mapping[str, int]
    high: Mapping[str, int]
    widths: Mapping[str, float]
    means: Mapping[str, float]
    options: Mapping[str, Sequence[int]]
    weights: Mapping[str, Sequence[float]]
    costs: Mapping[str, float]
    targets: Mapping[str, float]
    pressures: Mapping[str, float]
    supernet: Mapping[str, int]
    executed: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak: int = 0


def symbols(units: Sequence[Unit]) -> dict[str, Polynomial]:
    """The width of each group in those of the units, by its id."""
    return {name: Polynomial.symbol(k) * share
            for k, unit in enumerate(units) for name, share in unit.shares.items()}  # fmt: skip
