"""A user's own preprocessing survives a pruning: what was right on his inputs is right on them afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL")

from PIL import Image

import chanc
from chanc.backends import ort
from chanc.data.dataset import Dataset, make
from chanc.errors import ChancError, ModelError
from chanc.testing.graphs import Graph

MEANS = (104.0, 117.0, 124.0)


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, 3, 8, 8], and labels: a bar that lies or stands, red or blue, on a noisy ground."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 80, (count, 3, 8, 8))
    labels = rng.integers(0, 4, count)
    for image, label in zip(images, labels, strict=True):
        place, colour = rng.integers(1, 7), 0 if label < 2 else 2
        at = (slice(None), place) if label % 2 else (place, slice(None))
        image[colour][at] += 170
    return images.astype(np.uint8), labels.astype(np.int64)


def untrained() -> ir.Model:
    graph = Graph(seed=0, scale=1.0)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "n"}).conv(16, stride=2).relu().conv(16).relu()
    return graph.ir(x.gap().flatten().gemm(4))


@cache
def base() -> ir.Model:
    """A network that knows the bars, of pixels in 0..1, red first."""
    recipe: dict[str, Any] = {"optimizer": "adamw", "lr": 0.01, "batch_size": 32, "crop_padding": 0, "flip": False}
    done = chanc.train(untrained(), labelled(), epochs=12, normalise="none", device="cpu", **recipe)
    return done.model


def labelled() -> Dataset:
    return make("bars", pictures(480, 0), pictures(200, 1))


@dataclass(frozen=True)
class Kind:
    """A preprocessing: the inputs of pictures in numpy, the nodes that undo it in front of the network, the options."""

    asked: dict[str, str]
    steps: tuple[tuple[str, Any], ...]
    dtype: ir.DataType = ir.DataType.FLOAT
    last: bool = False

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """As the user's own script makes them."""
        raise NotImplementedError


class Opencv(Kind):
    """Blue first, 0..255, less a mean of each channel."""

    def inputs(self, images: np.ndarray) -> np.ndarray:
        return images[:, ::-1].astype(np.float32) - np.float32(MEANS).reshape(3, 1, 1)


class Redder(Kind):
    """What a script that mixes up the order makes of them."""

    def inputs(self, images: np.ndarray) -> np.ndarray:
        return images.astype(np.float32) - np.float32(MEANS).reshape(3, 1, 1)


class Tensorflow(Kind):
    """Channels last, -1..1."""

    def inputs(self, images: np.ndarray) -> np.ndarray:
        return images.transpose(0, 2, 3, 1).astype(np.float32) / 127.5 - 1


class Inside(Kind):
    """Whole numbers: the graph does it all."""

    def inputs(self, images: np.ndarray) -> np.ndarray:
        return images


SHIFT = np.float32(MEANS).reshape(3, 1, 1)
KINDS: dict[str, Kind] = {
    "opencv": Opencv(
        {"scale_pixels": "1", "normalise": "bgr:104,117,124/1"},
        (("Add", SHIFT), ("Div", np.float32(255)), ("Gather", np.array([2, 1, 0]))),
    ),
    "tensorflow": Tensorflow(
        {"normalise": "0.5/0.5"},
        (("Add", np.float32(1)), ("Div", np.float32(2)), ("Transpose", None)), last=True,
    ),
    "inside": Inside({}, (("Cast", None), ("Div", np.float32(255))), ir.DataType.UINT8),
}  # fmt: skip


def odd(kind: Kind) -> ir.Model:
    """The network as one that takes such inputs, and does not tell it."""
    model = ir.from_proto(ir.to_proto(base()))
    for key in [key for key in model.metadata_props if key.startswith("chanc.")]:
        del model.metadata_props[key]
    value = model.graph.inputs[0]
    readers, first, last = list(value.uses()), model.graph[0], value
    value.dtype = kind.dtype
    if kind.last:
        value.shape = ir.Shape(["n", 8, 8, 3])
    for number, (op, constant) in enumerate(kind.steps):
        operands = [last]
        if constant is not None:
            operand = ir.Value(name=f"pre.{number}", const_value=ir.tensor(np.asarray(constant), name=f"pre.{number}"))
            model.graph.register_initializer(operand)
            operands.append(operand)
        attributes = {"Gather": {"axis": 1}, "Transpose": {"perm": [0, 3, 1, 2]}, "Cast": {"to": 1}}.get(op, {})
        node = ir.node(op, operands, attributes, outputs=[ir.Value(name=f"pre.{number}.out")])
        model.graph.insert_before(first, node)
        last = node.outputs[0]
    for node, index in readers:
        node.replace_input_with(index, last)
    return model


def top1(model: ir.Model, kind: Kind) -> float:
    """On the user's own inputs, in onnxruntime."""
    images, labels = pictures(200, 2)
    (said,) = ort.run(model, {"image": np.ascontiguousarray(kind.inputs(images))})
    return float((said.argmax(1) == labels).mean())


def photos(folder: Path) -> Path:
    folder.mkdir()
    for number, image in enumerate(pictures(160, 3)[0]):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{number:03d}.png")
    return folder


BY_NIGHT = [pytest.param(name, marks=pytest.mark.nightly) for name in ("tensorflow", "inside")]


@pytest.mark.parametrize("name", ["opencv", *BY_NIGHT])
def test_a_score_stays_with_images_from_a_folder(name: str, tmp_path: Path) -> None:
    kind, said = KINDS[name], []
    model = odd(kind)
    before = top1(model, kind)
    assert before > 0.95
    done = chanc.prune(
        model, max_macs="50%", data=photos(tmp_path / "photos"), epochs=3, batch_size=16, round_to=1, device="cpu",
        say=said.append, **kind.asked,
    )  # fmt: skip
    assert done.steps[-1].macs <= done.macs / 2
    assert top1(done.model, kind) > before - 0.03, said
    if name == "opencv":
        assert top1(model, Redder(kind.asked, kind.steps)) < 0.7, "the order is no matter of taste"
        assert any("blue first (BGR)" in line for line in said)
        assert done.model.metadata_props["chanc.input.order"] == "BGR"


def test_what_isnt_known_is_asked_for_and_never_guessed(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    with pytest.raises(ModelError, match=r"can't be told without labels: give --normalise none .* bgr:"):
        chanc.prune(odd(KINDS["opencv"]), max_macs="50%", data=folder)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ModelError, match="with no usual ones it is right more often than by chance"):
        chanc.prune(untrained(), max_macs="50%", data=labelled())


def test_labels_tell_that_blue_comes_first() -> None:
    from chanc.tasks import Classification, fed
    from chanc.training.options import InputOptions

    for steps, order in ((KINDS["opencv"].steps, "BGR"), ((("Div", np.float32(255)),), "RGB")):
        found = fed(odd(Kind({}, steps)), labelled(), Classification(), InputOptions(), device="cpu")
        assert isinstance(found.data, Dataset)
        assert found.data.input.order == order, found.told


@pytest.mark.parametrize("text", ["bgr:", "bgr:0.5", "bgr:rgb"])
def test_an_order_without_numbers_is_refused(text: str) -> None:
    with pytest.raises(ChancError, match="--normalise"):
        chanc.prune(odd(KINDS["opencv"]), max_macs="50%", data=labelled(), normalise=text)
