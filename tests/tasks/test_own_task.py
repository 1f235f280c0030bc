"""A task of a user's own is one class, from Python an object, on the command line a word."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
import pytest

from chanc.errors import ChancError, DataError, ModelError

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

import chanc  # noqa: E402
from chanc import data as datasets  # noqa: E402
from chanc.ir import copy_model  # noqa: E402
from chanc.tasks import configured  # noqa: E402
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


@dataclass(frozen=True)
class Ranking(Task):
    """Puts samples in the order of their labels; how well is a question to the whole data set, not to a batch."""

    margin: float = 0.1

    name = "ranking"
    score_name = "concordance"

    def fit(self, model, data):
        return data

    def loss(self, outputs, batch):
        (found,), wanted = outputs.values(), batch.labels
        worse = (found[:, 0] - found + self.margin).relu()
        return (worse * (wanted[:, None] > wanted)).mean()

    def score(self, outputs, batch):
        (found,) = outputs.values()
        return found[:, 0].cpu(), batch.labels.cpu()

    def reduce(self, parts):
        found, wanted = (torch.cat(part) for part in zip(*parts, strict=True))
        first, second = (torch.sign(values[:, None] - values) for values in (found, wanted))
        return float((first == second).double().mean())


def line() -> tuple[ir.Model, TensorDataset]:
    graph = Graph(seed=0)
    model = graph.ir(graph.input("x", [2, 4], dynamic={0: "n"}).gemm(6).relu().gemm(1))
    x = torch.randn(600, 4, generator=torch.Generator().manual_seed(0))
    return model, TensorDataset(x, x[:, 0] - 2 * x[:, 1])


RECIPE = {"epochs": 4, "batch_size": 32, "optimizer": "adamw", "lr": 0.02, "device": "cpu"}


def test_an_object_and_anything_iterable() -> None:
    model, data = line()
    batches = [(x.numpy(), y.numpy()) for x, y in DataLoader(data, batch_size=50)]
    done = chanc.train(model, data, task=Ranking(0.2), **RECIPE)
    assert done.before < 0.7
    assert done.top1 > 0.9
    for source in (DataLoader(data, batch_size=100), iter(batches)):
        again = chanc.train(model, source, task=Ranking(0.2), **{**RECIPE, "epochs": 1})
        assert (again.before, again.test_images) == (done.before, 120)


def test_labelled_samples_are_classified() -> None:
    graph = Graph(seed=0)
    model = graph.ir(graph.input("x", [2, 4], dynamic={0: "n"}).gemm(8).relu().gemm(2))
    x = np.random.default_rng(0).standard_normal((400, 4)).astype(np.float32)
    batches = [(x, (x[:, 0] > x[:, 1]).astype(np.int64))]
    assert chanc.train(model, batches, **RECIPE).top1 > 0.9
    with pytest.raises(DataError, match="classification needs them, the task distillation doesn't"):
        chanc.train(model, [x], **RECIPE)
    with pytest.raises(DataError, match="the model has 2 classes, the data set data has 6"):
        chanc.train(model, [(x, np.arange(400) % 6)], **RECIPE)


TASKS = """
from dataclasses import dataclass
from chanc.training.task import Task

@dataclass(frozen=True)
class Sum(Task):
    weight: float = 1.0
    squared: bool = False
    name, score_name = "sum", "closeness"
    def fit(self, model, data):
        return data
    def loss(self, outputs, batch):
        error = sum(value.sum(1) for value in outputs.values()) - sum(value.sum(1) for value in batch.inputs.values())
        return self.weight * error.square().mean()
    def score(self, outputs, batch):
        return -self.loss(outputs, batch).double() * len(batch), len(batch)

class Plain(Sum):
    pass

class Half(Task):
    name = "half"

ready = Sum(3.0, True)
nothing = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    name = f"own_tasks_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(TASKS)
    return name


def test_a_task_by_its_module_and_class(own) -> None:
    task, options = configured(f"{own}:Sum", {"weight": 2.0, "lr": 0.3})
    assert (type(task).__name__, task.weight, options.lr) == ("Sum", 2.0, 0.3)
    assert configured(f"{own}:ready", {})[0].weight == 3.0
    assert configured(task, {"lr": 0.1})[0] is task
    for spec, recipe, message in (
        (f"{own}:Sun", {}, f"{own} has no task 'Sun' .*; it has Plain, Sum, ready"),
        (f"{own}:nothing", {}, "has no task 'nothing'"),
        (f"{own}:Half", {}, f"the task {own}:Half lacks fit, loss, score"),
        (f"{own}:", {}, "names no task: give MODULE:CLASS"),
        (f"{own}:Sum", {"size": 1}, "unknown training option: size"),
        (f"{own}:ready", {"weight": 1.0}, "unknown training option: weight"),
        ("no_such_module:Sum", {}, "there is no module 'no_such_module'"),
    ):
        with pytest.raises(ChancError, match=message):
            configured(spec, recipe)


def test_a_task_on_the_command_line(own, capsys) -> None:
    from chanc.cli import main
    from chanc.ir import load, save

    graph = Graph(seed=0)
    save(graph.ir(graph.input("x", [2, 4], dynamic={0: "n"}).gemm(6).relu().gemm(1)), "net.onnx")
    np.save("x.npy", np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32))
    common = ["train", "net.onnx", "--data", "x.npy", "--task", f"{own}:Sum", "--epochs", "3", "-o", "out.onnx",
              "--optimizer", "adamw", "--lr", "0.02", "--batch-size", "16"]  # fmt: skip
    main([*common, "--task-option", "weight=2", "--task-option", "squared=yes"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "note: the inputs are fed as they are: x"
    assert said[1].startswith("epoch 1/3  loss ")
    before, after = (float(word) for word in said[-1].split(" on ")[0].split("closeness ")[1].split(" -> "))
    assert before < after < 0
    assert load("out.onnx").metadata_props == {}
    for more in (["--task-option", "wait=2"], ["--task-option", "weight"]):
        with pytest.raises(SystemExit) as stop:
            main([*common, *more])
        assert stop.value.code == 2
        assert "it has weight, squared" in capsys.readouterr().err
