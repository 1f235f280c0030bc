"""`chanc.train`, `chanc.prune` and `chanc.search` take whatever can be iterated, and a task that is an object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

import chanc  # noqa: E402
from chanc.data import Data, Samples  # noqa: E402
from chanc.errors import RunError  # noqa: E402
from chanc.runs import read_run  # noqa: E402
from chanc.testing import builders  # noqa: E402
from chanc.training.inputs import fit_samples  # noqa: E402
from chanc.training.task import Batch, Outputs, Task  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

X = np.random.default_rng(0).standard_normal((160, 6)).astype(np.float32)
Y = np.stack([X[:, 0] * X[:, 1], X[:, 2]], axis=1)


@dataclass(frozen=True)
class Regression(Task):
    """Numbers at the end of a network, and how far they are off."""

    weight: float = 1.0

    name = "regression"
    score_name = "closeness"

    def fit(self, model: ir.Model, data: Data) -> Data:
        """As the inputs take them."""
        assert isinstance(data, Samples)
        return fit_samples(model, data)

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Mean squared error."""
        return self.weight * (outputs["y"] - batch.labels).square().mean()

    def score(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, int]:
        """How near, at best 0."""
        return -(outputs["y"] - batch.labels).abs().mean() * len(batch), len(batch)


def network() -> onnx.ModelProto:
    """[N, 6] -> 16 -> 16 -> [N, 2]."""
    rng = np.random.default_rng(1)
    shapes = {"w1": (6, 16), "b1": (16,), "w2": (16, 16), "b2": (16,), "w3": (16, 2)}
    drawn = {name: rng.standard_normal(shape) / shape[0] ** 0.5 for name, shape in shapes.items()}
    weights = {name: value.astype(np.float32) for name, value in drawn.items()}
    body = "h = Gemm (x, w1, b1) r = Relu (h) g = Gemm (r, w2, b2) s = Relu (g) y = MatMul (s, w3)"
    return builders.build("float[N,6] x", "float[N,2] y", body, weights)


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(X), 32):
        yield X[start : start + 32], Y[start : start + 32]


def kinds() -> dict[str, object]:
    """The same samples, as one has them."""
    tensors = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    return {
        "generator": batches(),
        "list of dicts": [{"x": X, "labels": Y}],
        "Dataset": tensors,
        "DataLoader": torch.utils.data.DataLoader(tensors, batch_size=40),
    }


@pytest.mark.parametrize("kind", ["generator", "list of dicts", pytest.param("Dataset", marks=pytest.mark.nightly)])
def test_training(kind: str) -> None:
    done = chanc.train(network(), kinds()[kind], epochs=4, task=Regression(), optimizer="adamw", batch_size=16)
    assert done.top1 > done.before
    assert done.test_images == 32


def test_pruning() -> None:
    done = chanc.prune(network(), max_macs="50%", data=kinds()["DataLoader"], task=Regression(), epochs=1, round_to=1)
    assert done.score_name == "closeness"
    assert done.steps[-1].macs <= done.macs / 2
    assert list(done.steps[-1].scores) == ["cut", "refitted", "trained"]


def test_a_search(tmp_path: Path) -> None:
    train = {"optimizer": "adamw", "batch_size": 16}
    run = chanc.search(network(), algo="random", data=kinds()["Dataset"], task=Regression(), out=tmp_path, trials=1,
                       epochs=1, train=train, on_change=None)  # fmt: skip
    record = read_run(tmp_path)
    assert [trial.id for trial in record.trials] == [0]
    assert record.settings["data"] == "<from Python>"
    assert record.settings["task"] == "<Regression(weight=1.0)>"
    assert onnx.load(run.model).graph.input[0].name == "x"
    with pytest.raises(RunError, match="the data of this run came from Python"):
        chanc.search(out=tmp_path, resume=True, trials=2)
    changed = [(X, Y + 1)]
    with pytest.raises(RunError, match="was made with other settings: contents"):
        chanc.search(out=tmp_path, resume=True, trials=2, data=changed, task=Regression(), on_change=None)
    again = chanc.search(
        out=tmp_path, resume=True, trials=2, data=kinds()["generator"], task=Regression(), on_change=None
    )
    assert len(read_run(tmp_path).trials) == 2
    assert again.model == run.model
