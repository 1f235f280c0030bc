"""Models whose end PyTorch can't express: they train up to there, and the weights come home into the whole model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

import chanc  # noqa: E402
from chanc import data as datasets  # noqa: E402
from chanc.backends import ort  # noqa: E402
from chanc.data.dataset import Dataset  # noqa: E402
from chanc.errors import ModelError  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.builders import build  # noqa: E402
from chanc.training.module import trainable  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.task import Batch, Outputs, Task  # noqa: E402
from chanc.training.train import train  # noqa: E402

WEIGHTS = {"w": (12, 1, 3, 3), "v": (10, 108), "b": (10,)}
NETWORK = """c = Conv <strides = [2, 2]> (image, w) r = Relu (c) f = Flatten (r)
s = Gemm <transB = 1> (f, v, b) """
ENDS = {
    "probabilities": ("p = Softmax (s) y = theirs.Name (p)", "p"),
    "labels": ("p = Softmax (s) a = ArgMax <keepdims = 0> (p) y = theirs.Name (a)", "p"),
    "logits": ("y = theirs.Name (s)", "s"),
}
RECIPE = {"epochs": 8, "batch_size": 32, "optimizer": "adamw", "lr": 0.03, "crop_padding": 0,
          "limit_train": 600, "limit_test": 100, "normalise": "none"}  # fmt: skip


def model(end: str, outputs: str = "float[N,7] y") -> onnx.ModelProto:
    return build("float[N,1,8,8] image", outputs, NETWORK + end, WEIGHTS, domains=("theirs",))


def accuracy(proto: onnx.ModelProto, data: Dataset) -> float:
    """Of the logits inside, by onnxruntime, on pixels in 0..1."""
    parts = onnx.ModelProto.FromString(proto.SerializeToString())
    del parts.graph.node[4:], parts.graph.output[:]
    parts.graph.output.append(onnx.helper.make_tensor_value_info("s", 1, [None, 10]))
    (found,) = ort.run(parts, {"image": data.test_images.astype(np.float32) / 255})
    return float((found.argmax(1) == data.test_labels).mean())


@pytest.mark.parametrize("name", ENDS)
def test_a_classifier_with_an_end_of_its_own(name: str) -> None:
    end, last = ENDS[name]
    before = model(end)
    said: list[str] = []
    done = chanc.train(before, "digits", say=said.append, **RECIPE)
    assert any("theirs::Name node 'y' can't be written in PyTorch: this operator has no PyTorch form; the module ends "
               f"before it and returns '{last}'" in line for line in said)  # fmt: skip
    assert [node.op_type for node in done.model.graph.node] == [node.op_type for node in before.graph.node]
    assert [value.name for value in done.model.graph.output] == ["y"]
    assert done.top1 > 0.6 > done.before
    assert accuracy(done.model, datasets.load("digits", limit_test=100)) == pytest.approx(done.top1)


def test_a_search_goes_through_the_whole_model(tmp_path: Path) -> None:
    onnx.save(model(ENDS["labels"][0]), tmp_path / "model.onnx")
    run = chanc.search(tmp_path / "model.onnx", algo="random", data="digits", trials=1, epochs=1, out=tmp_path / "run",
                       limit_train=100, limit_test=50, normalise="none", train={"device": "cpu"})  # fmt: skip
    best = onnx.load(run.path / "best.onnx")
    assert [node.op_type for node in best.graph.node][-1] == "Name"
    assert "It ends before the ONNX graph does, and returns p." in (run.path / "model.py").read_text()


@dataclass(frozen=True)
class Energy(Task):
    """The features shall be small: what a user learns of values that are no output of the model."""

    name = "energy"
    score_name = "energy"
    higher_is_better = False

    def fit(self, model: ir.Model, data: Dataset) -> Dataset:
        assert [value.name for value in model.graph.outputs] == ["r", "z"]
        return data

    def loss(self, outputs: Outputs, batch: Batch) -> torch.Tensor:
        return outputs["r"].square().mean()

    def score(self, outputs: Outputs, batch: Batch) -> tuple[torch.Tensor, int]:
        assert set(outputs) == {"r", "z"}
        return outputs["r"].square().flatten(1).sum(1).sum(), len(batch)


def test_a_task_gets_the_values_by_their_names() -> None:
    end = "y = theirs.Boxes (r) z = Softmax (s)"
    start = ir.from_proto(model(end, "float[N,K,4] y, float z"))
    data = datasets.load("digits", limit_train=128, limit_test=64)
    weights = {name: value.const_value.numpy().copy() for name, value in start.graph.initializers.items()}
    options = TrainOptions(epochs=1, batch_size=32, crop_padding=0, flip=False, lr=0.1, device="cpu")
    done = train(start, Energy().fit(trainable(start, Energy()).graph, data), Energy(), options)
    assert np.isfinite(done.result.score)
    after = {name: value.const_value.numpy() for name, value in start.graph.initializers.items()}
    assert not np.array_equal(after["w"], weights["w"])
    assert np.array_equal(after["b"], weights["b"])


def test_weights_behind_it_are_no_end() -> None:
    middle = build("float[N,1,8,8] image", "float y", NETWORK + "t = theirs.Mix (s) y = MatMul (t, u)",
                   WEIGHTS | {"u": (10, 10)}, domains=("theirs",))  # fmt: skip
    with pytest.raises(ModelError, match=r"theirs::Mix node 't' can't be written .*100 weights are in it or behind it"):
        chanc.train(middle, "digits", **RECIPE)
    with pytest.raises(ModelError, match=r"theirs::Mix node 't'"):
        trainable(ir.from_proto(middle), Classification())
