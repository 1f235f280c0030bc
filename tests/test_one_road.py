"""One model, trained by `chanc train`'s function and by a search's engine: the same losses, step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from chanc import data as datasets  # noqa: E402
from chanc.ir import copy_model  # noqa: E402
from chanc.study.torch_engine import Recipe, TorchEngine  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.blocks import channels_first, channels_last  # noqa: E402
from chanc.testing.graphs import Graph, Tensor  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.train import train  # noqa: E402
from chanc.transforms import fold_batchnorm  # noqa: E402

FORMS = ("logits", "Softmax", "LogSoftmax", "NHWC", "folded")
OPTIONS = TrainOptions(epochs=4, batch_size=50, lr=0.05, crop_padding=0, flip=False, seed=3, device="cpu")


def network(form: str) -> ir.Model:
    """Two convolutions with norms and a classifier of digits, the same weights in every form."""
    graph = Graph(scale=3**-0.5)
    wrap, unwrap = (channels_last, channels_first) if form == "NHWC" else (_same, _same)
    x = wrap(graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}))
    x = wrap(unwrap(x).conv(8, bias=False).bn()).relu()
    x = wrap(unwrap(x).conv(16, stride=2, bias=False).bn()).relu()
    logits = unwrap(x).flatten().gemm(10)
    model = graph.ir(logits.op(form) if form.endswith("Softmax") else logits)
    assert form != "folded" or fold_batchnorm(model)
    return model


def _same(x: Tensor) -> Tensor:
    return x


class Listening(Classification):
    """Remembers the loss of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["losses"] = []

    def loss(self, outputs, batch):
        found = super().loss(outputs, batch)
        if batch.training:
            self.losses.append(float(found.detach()))
        return found


class Silent:
    """Watches nothing."""

    def step(self, epoch: int, share: float) -> None: ...

    def epoch(self, epoch: int, loss: float, top1: float) -> None: ...


def by_train(model: ir.Model, data: datasets.Dataset) -> tuple[list[float], float]:
    task = Listening()
    done = train(model, task.fit(model, data), task, OPTIONS)
    return task.losses, done.result.score


def by_trial(model: ir.Model, data: datasets.Dataset) -> tuple[list[float], float]:
    task = Listening()
    engine = TorchEngine(Recipe(task.fit(model, data), task, OPTIONS))
    engine.check(model)
    done = engine.train(model, fresh=False, seed=OPTIONS.seed, carry_from=None, carry_to=None, watch=Silent())
    assert [epoch["top1"] for epoch in done.epochs][-1] == done.top1
    return task.losses, done.top1


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data() -> datasets.Dataset:
    return datasets.load("digits", limit_train=500, limit_test=200)


@pytest.fixture(scope="module")
def plain(data) -> list[float]:
    """The losses of the network that ends in logits."""
    return by_train(network("logits"), data)[0]


@pytest.mark.parametrize("form", FORMS)
def test_train_and_search_take_the_same_steps(form: str, data, plain) -> None:
    start = network(form)
    ours, theirs = copy_model(start), copy_model(start)
    losses, top1 = by_train(ours, data)
    # The same operations on the same numbers: not a bit of difference, so no tolerance.
    assert by_trial(theirs, data) == (losses, top1)
    for name, value in ours.graph.initializers.items():
        assert np.array_equal(value.const_value.numpy(), theirs.graph.initializers[name].const_value.numpy())
    assert len(losses) == 40
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:5])
    assert top1 > 0.85
    if form in ("Softmax", "LogSoftmax"):
        assert losses == plain
    elif form == "NHWC":
        np.testing.assert_allclose(losses, plain, rtol=1e-5)


def test_a_final_training_goes_the_same_way(data, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("chanc.study.torch_engine._draw_anew", lambda module, seed, **what: None)
    ours, theirs = network("Softmax"), network("Softmax")
    losses, top1 = by_train(ours, data)
    task = Listening()
    recipe = Recipe(task.fit(theirs, data), task, OPTIONS)
    done = TorchEngine(recipe, recipe).train_final(
        theirs, seed=OPTIONS.seed, checkpoint=tmp_path / "c.safetensors", watch=Silent()
    )
    assert (task.losses, done.top1) == (losses, top1)
