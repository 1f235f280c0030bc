"""The expensive half of a search, behind one small interface: rewriting, training and measuring models.

The driver knows nothing of torch; `chanc.study.torch_engine` does the real work, tests bring a small fake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import onnx_ir as ir

from chanc.rewriter.importance import Gathered
from chanc.runs import Epoch
from chanc.study.space import Price

if TYPE_CHECKING:
    from chanc.training.records import StepInfo

MetricOf = Literal["weights", "change"]
"""What layers are measured by: their weights, or the change that a trial's training made to them."""


class Watcher(Protocol):
    """Who is told how a training goes; epochs count from 0."""

    def step(self, epoch: int, share: float) -> None:
        """The epoch has done `share` (0 to 1) of its steps."""

    def epoch(self, epoch: int, loss: float, top1: float) -> None:
        """The epoch has ended: training loss, and top-1 (0 to 1) on the held-out images, NaN where it wasn't judged."""


Edges = Mapping[str, Mapping[str, tuple[int, ...]]]
"""Of a Decision: the units that consumers keep, by "<node's first output>:<input>" and group."""


def stepper(watch: Watcher) -> Callable[[StepInfo], None]:
    """Tell of each step without reading its loss, which would make the CPU wait for the device."""
    return lambda info: watch.step(info.epoch, (info.step + 1) / info.steps)


@dataclass(frozen=True)
class Trained:
    """A model with its trained weights, and how the training went.

    epochs: metrics are those of the layers, {initializer: {"in_rank", ...}}. score (top-1, 0 to 1) and loss: on the
    held-out part, after the last epoch. spent: seconds by what they went into (`chanc.runs.overhead`).
    """

    model: ir.Model
    epochs: Sequence[Epoch]
    score: float
    loss: float
    spent: Mapping[str, float] = field(default_factory=dict)


class Engine(Protocol):
    """What the driver asks for."""

    def load(self, path: Path) -> ir.Model:
        """Read a model."""

    def save(self, model: ir.Model, path: Path) -> None:
        """Write a model, whole or not at all."""

    def resize(
        self, model: ir.Model, widths: Mapping[str, int], *, fresh: bool, seed: int, transfer: str | None = None,
        evidence: Gathered | None = None,
    ) -> ir.Model:
        """The model at other widths. Raises IllegalMove, PlanError.

        fresh: its weights will be drawn anew. transfer: how they are carried over, None as the engine's settings say.
        evidence: of the model, by which units are kept.
        """  # fmt: skip

    def evidence(self, model: ir.Model) -> Gathered:
        """What the training images show of a model's units."""

    def price(self, model: ir.Model) -> Price:
        """Parameters and MACs of a model."""

    def train(
        self, model: ir.Model, *, fresh: bool, seed: int, carry_from: Path | None, carry_to: Path | None,
        watch: Watcher, epochs: int | None = None, checkpoint: Path | None = None,
    ) -> Trained:
        """Train one trial, and measure each layer at each epoch's end. Raises TrialError.

        carry_from, carry_to: files of the optimizer's state, where learning rates go on from trial to trial. epochs:
        None as the engine's settings say. checkpoint: a file written after each epoch; training goes on from it.
        """  # fmt: skip
