"""The expensive half of a search, behind one small interface: rewriting, training and measuring models.

The driver knows nothing of torch; `chanc.study.torch_engine` does the real work, tests bring a small fake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chanc.study.space import Price


class Watcher(Protocol):
    """Who is told how a training goes; epochs count from 0."""

    def step(self, epoch: int, share: float) -> None:
        """The epoch has done `share` (0 to 1) of its steps."""

    def epoch(self, epoch: int, loss: float, top1: float) -> None:
        """The epoch has ended: training loss, and top-1 (0 to 1) on the held-out images."""



@dataclass(frozen=True)
class Trained:
    """A model with its trained weights, and how the training went.

    epochs: for each one {"epoch", "loss", "top1", "lr", "metrics": {initializer: {"in_rank", ...}}}. top1 (0 to 1) and
    loss: on the held-out part, after the last epoch. measuring_s: seconds that the layers' metrics took.
    """

    model: Any
    epochs: list[dict[str, Any]]
    top1: float
    loss: float
    measuring_s: float = 0.0


class Engine(Protocol):
    """What the driver asks for. A model is whatever the engine makes of one: the driver only hands it on."""

    def load(self, path: Path) -> Any:
        """Read a model."""

    def save(self, model: Any, path: Path) -> None:
        """Write a model, whole or not at all."""

    def resize(self, model: Any, widths: Mapping[str, int], *, fresh: bool, seed: int) -> Any:
        """The model at other widths; its weights are carried over, or drawn anew. Raises IllegalMove, PlanError."""

    def price(self, model: Any) -> Price:
        """Parameters and MACs of a model."""

    def train(
        self, model: Any, *, fresh: bool, seed: int, carry_from: Path | None, carry_to: Path | None, watch: Watcher
    ) -> Trained:
        """Train one trial, and measure each layer at each epoch's end. Raises TrialError.

        carry_from, carry_to: files of the optimizer's state, where learning rates go on from trial to trial.
        """
