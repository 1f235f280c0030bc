"""Samples of a data set as a deployed model takes them, and the score of a task on what it says of them.

error = s / sqrt(n)      s: the standard deviation of the n samples' scores
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from chanc.data import Data, Samples
from chanc.data.batches import Batches
from chanc.training.images import image_input
from chanc.training.task import Batch, Task

Array = NDArray[np.generic]
Labels = NDArray[Any]


@dataclass(frozen=True)
class Score:
    """A task's score over so many samples, and its standard error; None where it is no mean of the samples' own."""

    value: float
    error: float | None
    samples: int


def held_out(model: ir.Model, data: Data, batch_size: int) -> Iterator[tuple[dict[str, Array], Labels | None]]:
    """The test part as `model` takes it, in stored order: inputs by name, and labels if there are any, [B, ...] each.

    data: as a task's `fit` gives it.
    """
    if isinstance(data, Samples):
        for start in range(0, data.counts[1], batch_size):
            part = slice(start, start + batch_size)
            labels = None if data.test_labels is None else data.test_labels[part]
            yield {name: array[part] for name, array in data.test.items()}, labels
        return
    value = image_input(model)
    kind = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
    images, of = torch.tensor(data.test_images), torch.tensor(data.test_labels)
    for batch, known in Batches(images, of, batch_size, data.input):
        yield {value.name or "": batch.contiguous().numpy().astype(kind)}, known.numpy() if data.labelled else None


class Scores:
    """What a task makes of each sample of a data set."""

    def __init__(self, task: Task, data: Data) -> None:
        self.task, self.data = task, data
        self._parts: list[tuple[torch.Tensor, int]] = []

    def add(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], labels: Labels | None) -> None:
        """Judge a batch: [B, ...] each. Raises: DataError for outputs that don't suit the data."""
        given, said = _tensors(inputs), _tensors(outputs)
        right = None if labels is None else torch.from_numpy(labels)
        self.task.check(said, self.data)
        for n in range(len(next(iter(given.values())))):
            one = slice(n, n + 1)
            own = None if right is None else right[one]
            batch = Batch({name: value[one] for name, value in given.items()}, own, training=False)
            self._parts.append(self.task.score({name: value[one] for name, value in said.items()}, batch))

    def score(self) -> Score:
        """Of all samples."""
        values = self._values()
        return Score(self.task.reduce(self._parts), None if values is None else _error(values), len(self._parts))

    def better(self, other: Scores) -> Score | None:
        """How much higher the other's score is, sample by sample; None where it is no mean of the samples' own."""
        mine, others = self._values(), other._values()
        if mine is None or others is None:
            return None
        difference = others - mine
        return Score(float(difference.mean()), _error(difference), len(difference))

    def _values(self) -> NDArray[np.float64] | None:
        if type(self.task).reduce is not Task.reduce:
            return None
        return np.array([float(value) / count for value, count in self._parts])


def _tensors(arrays: Mapping[str, Array]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _error(values: NDArray[np.float64]) -> float | None:
    return float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None
