"""Scores and agreement in onnxruntime against the same figures by hand; what is fed, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import chanc
from chanc.backends import ort
from chanc.data.dataset import Dataset
from chanc.errors import DataError, ModelError, RunError
from chanc.testing.graphs import Graph

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")


def by_hand(model: ir.Model, data: Dataset, mean: float = 0.4, std: float = 0.3) -> np.ndarray:
    """Logits of the test images, standardised as the metadata of the model say."""
    pixels = (data.test_images.astype(np.float32) / 255 - mean) / std
    return np.asarray(ort.run(model, {"image": pixels})[0])


def close(model: ir.Model, noise: float = 0.05) -> ir.Model:
    """Nearly the same model."""
    other, rng = chanc.load(model), np.random.default_rng(1)
    for value in other.graph.initializers.values():
        if value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT:
            array = value.const_value.numpy()
            value.const_value = ir.tensor(array + noise * rng.random(array.shape).astype(np.float32), name=value.name)
    return other


def test_the_score_by_hand(model: ir.Model, data: Dataset) -> None:
    found = chanc.evaluate(model, data=data, batch_size=8)
    right = by_hand(model, data).argmax(1) == data.test_labels
    assert (found.samples, found.score_name) == (21, "top1")
    assert found.score is not None
    assert found.score.value == right.mean()
    assert found.score.error == pytest.approx(right.std(ddof=1) / 21**0.5)
    assert found.pixels == (
        "the input is (pixels / 255 - 0.4) / 0.3, channels first (NCHW): as the model's metadata says"
    )
    assert (found.other, found.difference, found.outputs) == (None, None, ())


def test_two_models(model: ir.Model, data: Dataset) -> None:
    other = close(model)
    found = chanc.evaluate(model, other, data=data, batch_size=8)
    one, two = by_hand(model, data), by_hand(other, data)
    rights = [logits.argmax(1) == data.test_labels for logits in (one, two)]
    assert found.other is not None
    assert found.difference is not None
    assert found.other.value == rights[1].mean()
    paired = rights[1].astype(float) - rights[0]
    assert found.difference.value == pytest.approx(paired.mean())
    assert found.difference.error == pytest.approx(paired.std(ddof=1) / 21**0.5)
    (output,) = found.outputs
    assert output.same == (one.argmax(1) == two.argmax(1)).mean()
    assert output.relative == pytest.approx(np.linalg.norm(two - one) / np.linalg.norm(one), rel=1e-4)
    assert output.largest == pytest.approx(np.abs(two - one).max(), rel=1e-4)


def test_a_model_without_metadata_gets_what_the_other_one_takes(model: ir.Model, data: Dataset) -> None:
    other = chanc.load(model)
    other.metadata_props.clear()
    found = chanc.evaluate(model, other, data=data)
    assert found.outputs[0].relative == 0
    assert found.pixels.endswith("as the model's metadata says")


def test_each_model_gets_its_own_pixels(model: ir.Model, data: Dataset) -> None:
    other = chanc.load(model)
    other.metadata_props["chanc.input.mean"] = "0.5"
    found = chanc.evaluate(model, other, data=data)
    one, two = by_hand(model, data), by_hand(model, data, mean=0.5)
    assert found.outputs[0].largest == pytest.approx(np.abs(two - one).max(), rel=1e-4)
    assert "0.4" in found.pixels
    assert "; of the other model the input is (pixels / 255 - 0.5) / 0.3" in found.pixels
    asked = chanc.evaluate(model, other, data=data, normalise="0.5/0.3")
    assert asked.outputs[0].relative == 0
    assert asked.pixels.endswith("as asked for")


def test_inputs_without_labels(model: ir.Model, tmp_path: Path) -> None:
    other, feeds = close(model), {"image": np.random.default_rng(2).random((9, 1, 6, 6), np.float32)}
    np.savez(tmp_path / "feeds.npz", **feeds)
    found = chanc.evaluate(model, other, data=tmp_path / "feeds.npz")
    one, two = (ort.run(each, feeds)[0] for each in (model, other))
    assert found.score is None
    assert found.samples == 9
    assert found.outputs[0].largest == pytest.approx(np.abs(two - one).max(), rel=1e-4)
    parts = chanc.evaluate(model, other, data=feeds, batch_size=2)
    assert parts.outputs[0].relative == pytest.approx(found.outputs[0].relative, rel=1e-4)
    assert chanc.evaluate(model, other, data=feeds, limit_test=4).samples == 4
    with pytest.raises(RunError, match="tell of two models how far they agree"):
        chanc.evaluate(model, data=feeds)
    with pytest.raises(DataError, match="such inputs are fed as they are"):
        chanc.evaluate(model, other, data=feeds, normalise="none")
    with pytest.raises(RunError, match="at least 1"):
        chanc.evaluate(model, other, data=feeds, batch_size=0)
    np.savez(tmp_path / "more.npz", **feeds, more=np.zeros(3))
    with pytest.raises(DataError, match="the model's inputs are"):
        chanc.evaluate(model, other, data=tmp_path / "more.npz")


def test_images_without_labels_tell_of_two_models(model: ir.Model, data: Dataset) -> None:
    nameless = dataclasses.replace(data, class_names=(), classes=0, train_labels=np.zeros(40, np.int64),
                                   test_labels=np.zeros(21, np.int64))  # fmt: skip
    found = chanc.evaluate(model, close(model), data=nameless)
    assert (found.score, len(found.outputs)) == (None, 1)
    with pytest.raises(RunError, match="give the other one"):
        chanc.evaluate(model, data=nameless)


def test_models_that_cannot_be_compared(model: ir.Model, data: Dataset) -> None:
    graph = Graph(seed=0)
    x = graph.input("image", [2, 1, 6, 6], dynamic={0: "n"}).conv(8).relu().gap().flatten()
    two = graph.ir(x.gemm(4), x.gemm(4))
    feeds = {"image": np.zeros((2, 1, 6, 6), np.float32)}
    with pytest.raises(ModelError, match="the models have other outputs"):
        chanc.evaluate(model, two, data=feeds)
    more = dataclasses.replace(data, classes=5, class_names=tuple("abcde"))
    with pytest.raises(DataError, match="the model has 4 classes, the data set pictures has 5"):
        chanc.evaluate(model, data=more)
