from __future__ import annotations

import pytest

from chanc.errors import DataError, ModelError, RunError

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from chanc import data as datasets  # noqa: E402
from chanc.tasks import TASKS, Classification, configured  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.task import Batch  # noqa: E402

LOGITS = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 3.0]])
AUX = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.5]])
LABELS = torch.tensor([0, 1])


def batch(*, training: bool) -> Batch:
    return Batch({"image": torch.zeros(2, 1, 1, 1)}, LABELS, training)


def test_loss_in_training_and_on_held_out_images() -> None:
    task, outputs = Classification(label_smoothing=0.3), {"main": LOGITS, "aux": AUX}
    picked = [(1 - 0.3) * -value.log_softmax(1)[[0, 1], LABELS] + 0.3 * -value.log_softmax(1).mean(1)
              for value in (LOGITS, AUX)]  # fmt: skip
    assert float(task.loss(outputs, batch(training=True))) == pytest.approx(
        float(picked[0].mean() + 0.4 * picked[1].mean()), rel=1e-6
    )
    held_out = functional.cross_entropy(LOGITS, LABELS)
    assert torch.equal(task.loss(outputs, batch(training=False)), held_out)
    assert task.loss({"main": LOGITS.bfloat16()}, batch(training=False)).dtype == torch.float32


def test_score_is_the_share_of_right_first_outputs() -> None:
    task = Classification()
    total, count = task.score({"main": LOGITS, "aux": AUX}, batch(training=False))
    assert (int(total), count) == (1, 2)
    assert task.reduce([(total, count), (torch.tensor(3), 3)]) == 0.8


def test_outputs_need_a_column_a_class() -> None:
    task, digits = Classification(), datasets.load("digits", limit_train=20, limit_test=10)
    task.check({"main": torch.zeros(2, 10)}, digits)
    for shape in ((2, 4), (2, 10, 1), (2,)):
        with pytest.raises(DataError, match="digits has 10 classes"):
            task.check({"main": torch.zeros(2, 10), "aux": torch.zeros(shape)}, digits)


def test_fit_brings_images_to_the_model_or_refuses() -> None:
    task, digits = Classification(), datasets.load("digits", limit_train=20, limit_test=10)
    graph = Graph()
    ten = graph.ir(graph.input("x", [2, 3, 6, 6], dynamic={0: "n"}).conv(4).gap().flatten().gemm(10))
    assert task.fit(ten, digits).shape == (3, 6, 6)
    graph = Graph()
    four = graph.ir(graph.input("x", [2, 1, 8, 8], dynamic={0: "n"}).conv(4).gap().flatten().gemm(4))
    with pytest.raises(DataError, match="the model has 4 classes, the data set digits has 10"):
        task.fit(four, digits)
    graph = Graph()
    with pytest.raises(ModelError, match="one input of images"):
        task.fit(graph.ir(graph.input("x", [2, 5]).gemm(10)), digits)


def test_labels_are_needed() -> None:
    with pytest.raises(DataError, match="needs data with labels"):
        Classification().loss({"main": LOGITS}, Batch({"image": torch.zeros(2, 1)}, None, training=True))


def test_a_recipe_is_parted_among_task_and_trainer() -> None:
    assert TASKS["classification"] is Classification
    found = configured("classification", {"label_smoothing": 0.1, "lr": 0.3})
    assert found == (Classification(label_smoothing=0.1), TrainOptions(lr=0.3))
    for name, recipe, message in (
        ("classification", {"rate": 1}, "unknown training option: rate"),
        ("classification", {"label_smoothing": 1.5}, "label_smoothing 1.5 lies outside 0..1"),
        ("clasification", {}, "there is no task 'clasification'"),
    ):
        with pytest.raises(RunError, match=message):
            configured(name, recipe)
