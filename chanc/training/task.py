"""What a network is trained for: the interface of a task, and the batches that it sees.

A task is one file: a frozen dataclass whose fields are its options. A checkpoint must agree on its repr. Tasks are
listed, with their options, where PyTorch may be missing: they import it when they work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import onnx_ir as ir

from chanc.data import Data

if TYPE_CHECKING:
    from torch import Generator, Tensor

Outputs = Mapping[str, "Tensor"]
"""What a network said of a batch, by the names of its graph's outputs: [B, ...] each."""


@dataclass(frozen=True)
class Batch:
    """Samples by the names of the graph's inputs, [B, ...] each, and what is known of them.

    labels: [B, ...], int64 [B] of images, None where the data has none. training: whether a step is made of it, or it
    is judged only. teacher: the teacher's outputs, for a task that wants them.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor | None
    training: bool
    teacher: Outputs | None = None

    def __len__(self) -> int:
        """Samples."""
        return len(next(iter(self.inputs.values())))


class Task(ABC):
    """A loss and a score, and which models and data they are for.

    score_name: the score's key in records; higher_is_better: its direction. takes_logits: the loss has a softmax of its
    own, so that a last Softmax of the graph is left out while training. wants_teacher: batches bring the teacher's
    outputs.
    """

    name: ClassVar[str]
    score_name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True
    takes_logits: ClassVar[bool] = False
    wants_teacher: ClassVar[bool] = False

    @abstractmethod
    def fit(self, model: ir.Model, data: Data) -> Data:
        """The data as the model takes it; nothing is trained. Raises: ModelError or DataError where they don't fit."""

    def begin(self, heads: Mapping[str, int], batches: Iterable[Batch]) -> Self:
        """The task with what it has to know before the first step: most have nothing to learn.

        heads: outputs whose Softmax is left out, each with the axis of its classes. batches: of some training samples,
        with what the teacher says of them where one is wanted.
        """
        return self

    @abstractmethod
    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The mean loss of a batch, a float32 scalar. Regularisation and auxiliary outputs count in training only."""

    def evidence_loss(self, outputs: Outputs, batch: Batch, generator: Generator) -> Tensor:
        """What a unit's worth is its part of: the loss, unless its gradients say little.

        generator: on the outputs' device, for what a task draws.
        """
        return self.loss(outputs, batch)

    @abstractmethod
    def score(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, int]:
        """The sum of the samples' scores on the outputs' device, or whatever `reduce` makes one number of; samples."""

    def reduce(self, parts: Sequence[tuple[Tensor, int]]) -> float:
        """One number from the scores of all batches: the mean."""
        import torch

        return float(torch.stack([total for total, _ in parts]).sum()) / sum(count for _, count in parts)

    def check(self, outputs: Outputs, data: Data) -> None:  # noqa: B027  (most tasks have nothing to check)
        """Raises: DataError for outputs that don't suit the data, where the graph's own shapes didn't say so."""
