"""What a model expects of its pixels: found, asked for, kept, and never replaced in silence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

import chanc  # noqa: E402
from chanc import data as datasets  # noqa: E402
from chanc.backends import ort  # noqa: E402
from chanc.data.contract import InputContract, recorded  # noqa: E402
from chanc.data.dataset import make  # noqa: E402
from chanc.errors import DataError, ModelError, RunError  # noqa: E402
from chanc.frontends.torch import export  # noqa: E402
from chanc.ir import load, save  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.contract import settle  # noqa: E402
from chanc.training.options import InputOptions  # noqa: E402

SEEDS = (0, pytest.param(1, marks=pytest.mark.nightly), pytest.param(2, marks=pytest.mark.nightly))
RECIPE = {"optimizer": "adamw", "lr": 0.01, "schedule": "cosine", "batch_size": 64, "crop_padding": 0}
TRUTHS = {
    "0..1": InputContract(),
    "0..255": InputContract(scale=1.0),
    "-1..1": InputContract(mean=(0.5,), std=(0.5,)),
}


class Net(torch.nn.Module):
    """A user's own small CNN of digits."""

    def __init__(self, channels_last: bool = False) -> None:
        super().__init__()
        nn = torch.nn
        self.channels_last = channels_last
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.body(x.permute(0, 3, 1, 2) if self.channels_last else x))


def user_data(contract: InputContract = TRUTHS["0..1"]) -> dict[str, np.ndarray]:
    """The digits as a user's own script feeds them: the originals 0..16 over 16, brought to the contract."""
    data = datasets.load("digits")
    images = {"train": data.train_images, "test": data.test_images}
    gain, shift = contract.gain[0], contract.shift[0]
    scaled = {part: (np.rint(one / 255 * 16) / 16 * 255 * gain + shift).astype(np.float32)
              for part, one in images.items()}  # fmt: skip
    last = {part: one.transpose(0, 2, 3, 1) for part, one in scaled.items()}
    pixels = last if contract.layout == "NHWC" else scaled
    return {**pixels, "train_labels": data.train_labels, "test_labels": data.test_labels}


def users_model(path: Path, seed: int, contract: InputContract, epochs: int = 12) -> Path:
    """A CNN that a user trained in PyTorch on pixels of the contract, exported."""
    torch.manual_seed(seed)
    given, net = user_data(contract), Net(contract.layout == "NHWC")
    images, labels = torch.tensor(given["train"]), torch.tensor(given["train_labels"])
    optimizer = torch.optim.Adam(net.parameters())
    steps = -(-len(images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, epochs=epochs, steps_per_epoch=steps)
    for _ in range(epochs):
        for part in torch.randperm(len(images)).split(64):
            loss = torch.nn.functional.cross_entropy(net(images[part]), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    export(net.eval(), [images[:2]], path)
    return path


def users_top1(model: object, contract: InputContract = TRUTHS["0..1"]) -> float:
    """Top-1 in onnxruntime on the user's own test inputs."""
    given, loaded = user_data(contract), load(model)
    outputs = ort.run(loaded, {loaded.graph.inputs[0].name: given["test"]})
    return float(np.mean(outputs[0].argmax(1) == given["test_labels"]))


OPEN = {"fixed": "", "open sizes": "HW", "open channels too": "HWC"}
"""Which axes of the input besides the batch have a name, and no size."""


def opened(path: Path, layout: str, names: str) -> Path:
    """The model with these axes of its input open, and no shape of anything behind it."""
    model = load(path)
    for value in (value for node in model.graph for value in node.outputs if not value.is_graph_output()):
        value.shape = None
    shape = model.graph.inputs[0].shape
    assert shape is not None
    axes = zip(layout, shape, strict=True)
    model.graph.inputs[0].shape = ir.Shape([name if name in names else size for name, size in axes])
    save(model, path)
    return path


def trained_on(path: Path, layout: str, axes: str, seed: int) -> tuple[Path, InputContract, float]:
    """A user's model is trained further and must stay as good on the user's inputs, its shape and its contract as told.

    Returns the model's file, its contract, and its top-1 before.
    """
    truth = dataclasses.replace(TRUTHS["0..1"], layout=layout)
    model = opened(users_model(path, seed, truth), layout, OPEN[axes])
    before, said = users_top1(model, truth), []
    assert before > 0.9
    done = chanc.train(model, "digits", epochs=3, lr=0.01, crop_padding=0, seed=seed, say=said.append)
    assert min(users_top1(done.model, truth), done.top1) > before - 0.02
    assert any(f"the input is pixels / 255, channels {'first' if layout == 'NCHW' else 'last'} ({layout})" in line
               and "pixels in 0..1, found by the model's top-1" in line for line in said), said  # fmt: skip
    assert recorded(done.model.metadata_props, "NCHW") == truth
    assert list(done.model.graph.inputs[0].shape) == list(load(model).graph.inputs[0].shape)
    return model, truth, before


@pytest.mark.parametrize("axes", ["open sizes", pytest.param("open channels too", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("layout", ["NHWC", pytest.param("NCHW", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.nightly
def test_a_network_of_open_sizes_stays_right(tmp_path: Path, layout: str, axes: str, seed: int) -> None:
    """Nothing but the operators tells which axis holds the channels: scrambled pictures would train to chance."""
    trained_on(tmp_path / "model.onnx", layout, axes, seed)


@pytest.mark.parametrize("axes", ["fixed", pytest.param("open sizes", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("layout", [pytest.param("NCHW", marks=pytest.mark.nightly), "NHWC"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_users_network_stays_right_on_the_users_inputs(tmp_path: Path, layout: str, axes: str, seed: int) -> None:
    model, truth, before = trained_on(tmp_path / "model.onnx", layout, axes, seed)
    run = chanc.search(
        model, data="digits", algo="random", trials=2, epochs=8, out=tmp_path / "run", seed=seed, from_weights=True,
        train=RECIPE, options={"min_width": 16, "max_width": 32},
        final_epochs=10, compare=("baseline",), final=RECIPE,
    )  # fmt: skip
    trials = [users_top1(run.path / event.file, truth) for event in run.trials]
    assert max(trials) > before - 0.02
    finals = sorted((run.path / "final").glob("*/model.onnx"))
    assert {row.name for row in run.rows} == {"found", "baseline"}  # one file where they are the same network
    assert all(users_top1(path, truth) > before - 0.02 for path in (*finals, run.model))
    assert recorded(load(run.model).metadata_props, "NCHW") == truth
    assert f"Made of pixels of 0 to 255: {truth}." in " ".join((run.path / "model.py").read_text().split())
    assert f'"{truth}"' in (run.path / "report.html").read_text()


@pytest.mark.parametrize("name", TRUTHS)
def test_trained_weights_tell_their_pixels(tmp_path: Path, name: str) -> None:
    model = load(users_model(tmp_path / "model.onnx", 0, TRUTHS[name], epochs=5))
    data, said = settled(model)
    assert data.input == TRUTHS[name], said
    assert "found by the model's top-1" in said


def test_weights_that_were_standardised_tell_it(tmp_path: Path) -> None:
    data = datasets.load("digits")
    own = InputContract(1 / 255, data.mean, data.std)
    assert settled(load(users_model(tmp_path / "model.onnx", 0, own, epochs=5)))[0].input == own


def settled(model: ir.Model, **asked: object) -> tuple[datasets.Dataset, str]:
    task = Classification()
    return settle(model, task.fit(model, datasets.load("digits")), task, InputOptions(**asked), "cpu")


def small(seed: int = 0, **shape: object) -> ir.Model:
    graph = Graph(seed=seed, scale=3**-0.5)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"})
    return graph.ir(x.conv(8).bn().relu().conv(12).relu().gap().flatten().gemm(10))


@pytest.mark.parametrize("seed", range(4))
def test_fresh_weights_are_standardised_and_that_is_said(seed: int) -> None:
    data, said = settled(small(seed))
    assert data.input == InputContract(1 / 255, data.mean, data.std)
    assert "the data set's mean and deviation, as for fresh weights" in said


def test_metadata_is_used_and_what_is_asked_for_wins() -> None:
    model = small()
    kept = InputContract(1 / 255, (0.25,), (0.5,))
    model.metadata_props.update(kept.metadata())
    data, said = settled(model)
    assert data.input == kept
    assert said == "the input is (pixels / 255 - 0.25) / 0.5, channels first (NCHW): as the model's metadata says"
    asked = {
        ("none", None): InputContract(),
        (None, "1"): InputContract(scale=1.0),
        ("0.5/0.25", None): InputContract(1 / 255, (0.5,), (0.25,)),
        ("8/4", "16/255"): InputContract(16 / 255, (8.0,), (4.0,)),
        ("dataset", None): InputContract(1 / 255, data.mean, data.std),
    }
    for (normalise, scale), contract in asked.items():
        found = settled(model, normalise=normalise, scale_pixels=scale)
        assert found[0].input == contract
        assert found[1].endswith("as asked for")


def test_standardised_in_any_scale_is_the_same() -> None:
    one, two = (settled(small(), normalise="dataset", scale_pixels=scale)[0].input for scale in (None, "1"))
    np.testing.assert_allclose([one.gain, one.shift], [two.gain, two.shift])


def test_what_cant_be_told_is_asked_for(tmp_path: Path) -> None:
    """A network without biases is as right, and always right, at any scale: nothing tells 0..1 from 0..255."""
    images = np.zeros((80, 1, 8, 8), np.uint8)
    labels = np.arange(80) % 2
    images[labels == 0, :, :4] = 200
    images[labels == 1, :, 4:] = 200
    np.savez(tmp_path / "two.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    graph = Graph()
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).flatten()
    weight = np.zeros((64, 2), np.float32)
    weight[:32, 0] = weight[32:, 1] = 1
    model = graph.ir(x.op("MatMul", graph.constant(weight)))
    with pytest.raises(ModelError) as refusal:
        chanc.train(model, tmp_path / "two.npz", epochs=1)
    assert "can't be told from its weights" in str(refusal.value)
    assert "--normalise none" in str(refusal.value)
    assert "--scale-pixels 1" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    done = chanc.train(model, tmp_path / "two.npz", epochs=1, scale_pixels="1/255")
    assert recorded(done.model.metadata_props, "NHWC") == InputContract()


@pytest.mark.parametrize("normalise", ["half", "0.5", "0.5/0", "1,2,3/1,2", "nan/1", "0.5/0.5/0.5"])
def test_options_that_cant_be_read(normalise: str) -> None:
    with pytest.raises(RunError, match="dataset, none, or MEAN/STD"):
        InputOptions(normalise)


@pytest.mark.parametrize("scale", ["1/0", "x", "0", "-1"])
def test_scales_that_cant_be_read(scale: str) -> None:
    with pytest.raises(RunError, match="--scale-pixels"):
        InputOptions(scale_pixels=scale)


def test_three_means_dont_fit_grey() -> None:
    with pytest.raises(DataError, match="3 means are given for pixels of 1 channels"):
        settled(small(), normalise="0.1,0.2,0.3/1")


def test_damaged_metadata_is_one_clear_line() -> None:
    scaled = {"chanc.input.scale": "1", "chanc.input.order": "GBR"}
    for entry in ({"chanc.input.mean": "grey"}, {"chanc.input.layout": "CHWN"}, {"chanc.input.std": "0"}, scaled):
        model = small()
        model.metadata_props.update(entry)
        with pytest.raises(DataError):
            settled(model)


def test_an_order_of_colours_is_told_kept_and_asked_for() -> None:
    caffe = InputContract(1.0, (104.0, 117.0, 124.0), (1.0, 1.0, 1.0), "NHWC", "BGR")
    assert recorded(caffe.metadata(), "NCHW") == caffe
    assert caffe.blue_first().blue_first() == caffe
    assert str(caffe) == "pixels - [104, 117, 124], channels last (NHWC), blue first (BGR)"
    images = (np.zeros((4, 3, 2, 2), dtype=np.uint8), np.arange(4) % 2)
    data = dataclasses.replace(make("some", images, images), contract=InputContract(layout="NHWC"))
    assert InputOptions("bgr:104,117,124/1", "1").contract(data) == caffe
    own = InputOptions("bgr:dataset").contract(data)
    assert own is not None
    assert (own.mean, own.order) == (data.mean[::-1], "BGR")
    kept = dataclasses.replace(data, contract=caffe)
    assert InputOptions("none").contract(kept) == InputContract(layout="NHWC", order="BGR")


def test_the_contract_survives_a_rewrite_and_a_file(tmp_path: Path) -> None:
    model = small()
    model.metadata_props.update(TRUTHS["-1..1"].metadata())
    rewritten = chanc.rewrite(model, scale=0.5).model
    save(rewritten, tmp_path / "half.onnx")
    assert recorded(load(tmp_path / "half.onnx").metadata_props, "NCHW") == TRUTHS["-1..1"]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_baked_into_the_graph(tmp_path: Path, layout: str) -> None:
    truth = InputContract(1 / 255, (0.5,), (0.25,), layout)
    model = users_model(tmp_path / "model.onnx", 0, truth, epochs=3)
    plain = chanc.train(model, "digits", epochs=1, lr=0.001, normalise="0.5/0.25").model
    baked = chanc.train(model, "digits", epochs=1, lr=0.001, normalise="0.5/0.25", bake=True).model
    raw = InputContract(scale=1.0, layout=layout)
    assert recorded(baked.metadata_props, "NCHW") == raw
    name = plain.graph.inputs[0].name
    want = ort.run(plain, {name: user_data(truth)["test"]})[0]
    have = ort.run(baked, {name: user_data(raw)["test"]})[0]
    np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4)
    save(baked, tmp_path / "baked.onnx")
    again = chanc.train(tmp_path / "baked.onnx", "digits", epochs=1, lr=0.01).model
    kept = [name for name in baked.graph.initializers if name.startswith("onnx::")]
    assert len(kept) == 2
    for name in kept:
        before, after = (one.graph.initializers[name].const_value.numpy() for one in (baked, again))
        assert np.array_equal(before, after), "the normalisation doesn't train"


def test_a_number_a_channel_is_baked_where_the_channels_are() -> None:
    from chanc.transforms import bake_input

    contract = InputContract(1 / 255, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4)).astype(np.float32)
    wanted = (pixels / 255 - np.reshape(contract.mean, (3, 1, 1))) / np.reshape(contract.std, (3, 1, 1))
    for layout, perm in (("NCHW", (0, 1, 2, 3)), ("NHWC", (0, 2, 3, 1))):
        graph = Graph()
        fed = pixels.transpose(perm)
        model = graph.ir(graph.input("x", list(fed.shape)).relu().op("Neg"))
        assert bake_input(model, model.graph.inputs[0], dataclasses.replace(contract, layout=layout))
        found = ort.run(model, {"x": np.ascontiguousarray(fed)})[0]
        np.testing.assert_allclose(found, -np.maximum(wanted, 0).transpose(perm), rtol=1e-5, atol=1e-6)
        assert not bake_input(model, model.graph.inputs[0], InputContract(scale=1.0, layout=layout))
