"""What comes of a pruning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import onnx_ir as ir

if TYPE_CHECKING:
    from chanc.training.records import EpochRecord, StepInfo

STAGES = ("cut", "refitted", "trained")
"""After which a model is scored: its channels are gone; its layers are refitted; it was trained."""


@dataclass(frozen=True)
class Step:
    """What came of a step: old and new widths by group, what the model costs, and its score by stage (`STAGES`).

    Where edges went the inputs of weights, by their names, stand for the widths. left: groups that were left alone,
    with the reason.
    """

    model: ir.Model
    widths: Mapping[str, tuple[int, int]]
    params: int
    macs: int
    scores: Mapping[str, float] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pruned:
    """A pruned model, of the kind that came in (a path gives an `onnx_ir.Model`), and how it came about.

    params, macs, before: of the model that came in; its score is None without data. sizes: of open axes, at which it
    was counted. score_name: what the task calls the score.
    """

    model: Any
    steps: tuple[Step, ...]
    params: int
    macs: int
    sizes: Mapping[str, int]
    before: float | None = None
    score_name: str = ""

    @property
    def after(self) -> float | None:
        """The score of the pruned model; None without data."""
        scores = list(self.steps[-1].scores.values())
        return scores[-1] if scores else None


class Watch(Protocol):
    """Who is told how the trainings go, as `chanc.training.trainer.train_module` tells it."""

    def step(self, info: StepInfo) -> None:
        """A step of the optimizer is done; epochs count from 0 in each step of the pruning."""

    def epoch(self, record: EpochRecord, module: Any) -> None:
        """An epoch has been trained and measured."""
