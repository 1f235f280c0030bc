"""Scores of single samples: their mean, its standard error, and the difference of two models, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from chanc.data import load  # noqa: E402
from chanc.errors import DataError  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.training.deployed import Score, Scores  # noqa: E402


def scores(right: Sequence[int], task: Classification | None = None) -> Scores:
    """Of labels that are all 0 and outputs that are right, 1, or wrong, 0; in two batches."""
    found = Scores(task or Classification(), DATA)
    outputs = np.zeros((len(right), 10), np.float32)
    outputs[np.arange(len(right)), 1 - np.array(right)] = 1
    for part in (slice(0, 3), slice(3, None)):
        count = len(outputs[part])
        found.add({"x": np.zeros((count, 1), np.float32)}, {"y": outputs[part]}, np.zeros(count, np.int64))
    return found


DATA = load("synthetic", root=Path("nowhere"))


def test_mean_and_standard_error() -> None:
    found = scores([1, 1, 0, 1, 1]).score()
    assert found.value == 0.8
    assert found.error == pytest.approx((0.8 * 0.2 / 4) ** 0.5)
    assert found.samples == 5


def test_the_difference_is_paired() -> None:
    one, other = scores([1, 1, 0, 1, 1]), scores([1, 0, 0, 1, 0])
    assert one.better(other) == Score(-0.4, pytest.approx((0.4 * 0.6 / 4) ** 0.5), 5)
    assert one.better(scores([1, 1, 0, 1, 1])) == Score(0.0, 0.0, 5)


@dataclass(frozen=True)
class Worst(Classification):
    """Scores that are no mean."""

    def reduce(self, parts: Sequence[tuple[torch.Tensor, int]]) -> float:
        return min(float(value) for value, _ in parts)


def test_what_is_no_mean_has_no_standard_error() -> None:
    one, other = scores([1, 1, 1, 1], Worst()), scores([1, 1, 1, 0], Worst())
    assert one.score() == Score(1.0, None, 4)
    assert other.score() == Score(0.0, None, 4)
    assert one.better(other) is None


def test_outputs_that_do_not_suit_the_data() -> None:
    with pytest.raises(DataError, match="has 10 classes, the model's output is 7 an image"):
        Scores(Classification(), DATA).add(
            {"x": np.zeros((2, 1), np.float32)}, {"y": np.zeros((2, 7), np.float32)}, np.zeros(2, np.int64)
        )
