"""A task of a user's own is one class: here a student learns a teacher's outputs, and no label is looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
import pytest

from chanc.errors import ModelError

torch = pytest.importorskip("torch")

from chanc import data as datasets  # noqa: E402
from chanc.ir import copy_model  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.task import Task  # noqa: E402
from chanc.training.train import train  # noqa: E402


@dataclass(frozen=True)
class Imitation(Task):
    weight: float = 1.0

    name = "imitation"
    score_name = "distance"
    higher_is_better = False
    wants_teacher = True

    def fit(self, model, data):
        return data

    def loss(self, outputs, batch):
        return self.weight * sum((outputs[name] - said).square().mean() for name, said in batch.teacher.items())

    def score(self, outputs, batch):
        (mine,), (other,) = outputs.values(), batch.teacher.values()
        return (mine - other).abs().sum(dtype=torch.float64), mine.numel()


def pixels(seed: int, width: int) -> ir.Model:
    """Images to images, which no label could teach."""
    graph = Graph(seed=seed, scale=1.0)
    return graph.ir(graph.input("x", [2, 1, 8, 8], dynamic={0: "n"}).conv(width).relu().conv(2).sigmoid())


def test_a_student_learns_from_a_teacher() -> None:
    data = datasets.load("digits", limit_train=300, limit_test=60)
    data = replace(data, train_labels=data.train_labels * 0, test_labels=data.test_labels * 0)
    teacher, student = pixels(0, 4), pixels(0, 8)
    student.graph.outputs[0].name = teacher.graph.outputs[0].name
    before = copy_model(teacher)
    recipe = {"epochs": 6, "batch_size": 25, "crop_padding": 0, "flip": False}
    options = TrainOptions(**recipe, optimizer="adamw", lr=0.02, device="cpu")
    records = train(student, data, Imitation(), options, teacher=teacher).result.history
    assert records[-1].test_loss < 0.2 * records[0].test_loss
    assert records[-1].score < 0.5 * records[0].score
    for name, value in teacher.graph.initializers.items():
        assert np.array_equal(value.const_value.numpy(), before.graph.initializers[name].const_value.numpy())


def test_without_a_teacher_there_is_nothing_to_learn() -> None:
    data = datasets.load("digits", limit_train=50, limit_test=20)
    with pytest.raises(ModelError, match="imitation needs a teacher"):
        train(pixels(0, 4), data, Imitation(), TrainOptions(device="cpu"))
