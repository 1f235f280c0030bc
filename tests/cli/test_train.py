from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from rich.console import Console

torch = pytest.importorskip("torch")

from chanc import data as datasets  # noqa: E402
from chanc import fields  # noqa: E402
from chanc.backends import ort  # noqa: E402
from chanc.cli import main  # noqa: E402
from chanc.cli.train import command  # noqa: E402
from chanc.cli.training_progress import TrainingProgress  # noqa: E402
from chanc.frontends import zoo  # noqa: E402
from chanc.frontends.torch import export  # noqa: E402
from chanc.ir import copy_model, load, save  # noqa: E402
from chanc.tasks import Classification, with_recipe  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.images import recover_norms  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.records import EpochRecord, StepInfo, TrainResult  # noqa: E402
from chanc.training.task import Task  # noqa: E402
from chanc.training.train import score, train  # noqa: E402
from chanc.transforms import fold_batchnorm  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def network(*, batch: int | None = None, end: str = "", seed: int = 0) -> ir.Model:
    """Three convolutions, with norms, for the digits; the weights of a fresh network in PyTorch."""
    graph = Graph(seed=seed, scale=3**-0.5)
    x = graph.input("image", [batch or 2, 1, 8, 8], dynamic={} if batch else {0: "n"})
    x = x.conv(8, bias=False).bn().relu().conv(12, stride=2, bias=False).bn().relu()
    x = x.conv(16, stride=2, bias=False).bn().relu()
    logits = (x.reshape(batch, 16, 4) if batch else x).gap().flatten().gemm(10)
    return graph.ir(logits.op(end) if end else logits)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(network(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def taught(model: ir.Model, data: datasets.Dataset, options: TrainOptions) -> tuple[float, TrainResult]:
    """Train in place as a classifier; top-1 before, and the result."""
    task, before = Classification(), []
    whole = task.fit(model, data)
    done = train(model, whole, task, options, start=lambda net: before.append(score(net, whole, task, options)))
    return before[0], done.result


def trained(*args: str | Path) -> None:
    main(["train", *map(str, args)])


def refused(capsys: pytest.CaptureFixture[str], *args: str | Path, code: int = 1) -> str:
    """Run the command, and return the line that it refuses with."""
    with pytest.raises(SystemExit) as stop:
        trained(*args)
    assert stop.value.code == code
    error = capsys.readouterr().err.strip()
    if code == 1:
        assert len(error.splitlines()) == 1
        assert error.startswith("chanc: ")
    return error


def values(path: Path) -> dict[str, np.ndarray]:
    return {name: value.const_value.numpy() for name, value in load(path).graph.initializers.items()}


def structure(path: Path) -> list[Any]:
    """Everything of a graph but the contents of its initializers."""
    graph = load(path).graph
    nodes = [(n.op_type, n.name, [v and v.name for v in n.inputs], [v.name for v in n.outputs], str(n.attributes))
             for n in graph]  # fmt: skip
    ends = [[str(value) for value in part] for part in (graph.inputs, graph.outputs)]
    return [*nodes, *ends, [(name, v.dtype, str(v.shape)) for name, v in graph.initializers.items()]]


def test_same_graph_with_better_values(tmp_path, model, capsys) -> None:
    out = tmp_path / "out.onnx"
    trained(model, "--data", "digits", "--epochs", 4, "--batch-size", 64, "-o", out)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("note: the input is (pixels / 255 - 0.3058) / 0.3762, channels first (NCHW): the data")
    assert [line.split("  ")[0] for line in lines[1:-1]] == [f"epoch {k}/4" for k in (1, 2, 3, 4)]
    data = datasets.load("digits")
    pixels = (data.test_images / 255 - np.reshape(data.mean, (1, -1, 1, 1))) / np.reshape(data.std, (1, -1, 1, 1))
    top1 = [
        float(np.mean(ort.run(path, {"image": pixels.astype(np.float32)})[0].argmax(1) == data.test_labels))
        for path in (model, out)
    ]
    count = 8 * 9 + 12 * 8 * 9 + 16 * 12 * 9 + 2 * (8 + 12 + 16) + 10 * 16 + 10
    tops = f"top-1 {top1[0]:.2%} -> {top1[1]:.2%}"
    assert lines[-1] == f"wrote {out}: {tops} on 360 test images of digits, {count} params"
    assert f"top-1 {top1[1]:.2%}" in lines[-2]
    assert top1[1] > max(0.6, top1[0] + 0.3)
    assert structure(out) == structure(model)
    before, after = values(model), values(out)
    assert all(not np.array_equal(before[name], after[name]) for name in before), "weights and statistics, all trained"


def test_killed_and_resumed_equals_undisturbed(tmp_path, model, capsys, monkeypatch) -> None:
    common = (model, "--data", "digits", "--epochs", 3, "--optimizer", "adamw", "--ema-decay", 0.99)
    trained(*common, "-o", tmp_path / "whole.onnx")

    def stop(self: TrainingProgress, info: StepInfo) -> None:
        if info.epoch == 1:
            raise KeyboardInterrupt

    more = ("--checkpoint", tmp_path / "c.safetensors", "-o", tmp_path / "parted.onnx")
    with monkeypatch.context() as patched:
        patched.setattr(TrainingProgress, "step", stop)
        assert refused(capsys, *common, *more, code=130) == "stopped"
    assert not (tmp_path / "parted.onnx").exists()
    assert "exists already: add --resume" in refused(capsys, *common, *more)
    trained(*common, *more, "--resume")
    assert capsys.readouterr().out.splitlines()[1].startswith("epoch 2/3")
    assert (tmp_path / "parted.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


def test_other_classes_than_the_data_set(tmp_path, model, capsys) -> None:
    images, labels = np.zeros((40, 1, 8, 8), np.uint8), np.arange(40) % 4
    np.savez(tmp_path / "four.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    error = refused(capsys, model, "--data", tmp_path / "four.npz", "--epochs", 1, "-o", tmp_path / "out.onnx")
    assert error == "chanc: the model has 10 classes, the data set four has 4"
    assert not (tmp_path / "out.onnx").exists()


def test_bad_inputs_are_one_line_and_write_nothing(tmp_path, model, capsys) -> None:
    out = tmp_path / "out.onnx"
    common = ("--data", "digits", "--epochs", 1)
    (tmp_path / "text.onnx").write_text("hello\n")
    for bad in ("none.onnx", "text.onnx"):
        assert bad in refused(capsys, tmp_path / bad, *common, "-o", out)
    assert "nowhere" in refused(capsys, model, "--data", tmp_path / "nowhere", "--epochs", 1, "-o", out)
    assert "No such file or directory" in refused(capsys, model, *common, "-o", tmp_path / "no" / "out.onnx")
    assert "Is a directory" in refused(capsys, model, *common, "-o", tmp_path)
    missing = ("--checkpoint", tmp_path / "c.safetensors", "--resume")
    assert "there is no training to resume" in refused(capsys, model, *common, "-o", out, *missing)
    assert "--resume needs --checkpoint" in refused(capsys, model, *common, "-o", out, "--resume", code=2)
    assert "outside 0..1" in refused(capsys, model, *common, "-o", out, "--momentum", 2)
    assert "training diverged" in refused(capsys, model, *common, "-o", out, "--lr", "1e30", "--limit-train", 200)
    assert not out.exists()


def test_models_that_are_no_classifiers_of_images(tmp_path, capsys) -> None:
    common, out = ("--data", "digits", "--epochs", 1), tmp_path / "out.onnx"
    graph = Graph()
    save(graph.ir(graph.input("x", [2, 20], dynamic={0: "n"}).gemm(10)), tmp_path / "vectors.onnx")
    assert "one input of images [N, C, H, W]" in refused(capsys, tmp_path / "vectors.onnx", *common, "-o", out)
    graph = Graph()
    save(graph.ir(graph.input("x", [2, 1, 8, 8], dynamic={0: "n"}).conv(10)), tmp_path / "pixels.onnx")
    error = refused(capsys, tmp_path / "pixels.onnx", *common, "-o", out)
    assert error == "chanc: digits has 10 classes, the model's output is 10x8x8 an image"


def test_options_that_suit_data_and_optimizer() -> None:
    def options(*args: str, data: datasets.Dataset) -> tuple[Task, TrainOptions]:
        params = command.make_context("train", ["m.onnx", "--data", "d", "--epochs", "2", "-o", "o", *args]).params
        names = [*fields.options(TrainOptions), *fields.options(Classification)]
        return with_recipe("classification", {n: params[n] for n in names if params[n] is not None}, data)

    digits, synthetic = datasets.load("digits"), datasets.load("synthetic").fit_to(3, 32, 32)
    _, found = options(data=digits)
    assert (found.crop_padding, found.flip, found.lr, found.schedule) == (1, False, 0.1, "cosine")
    _, found = options("--optimizer", "adas", data=synthetic)
    assert (found.crop_padding, found.flip, found.lr, found.schedule) == (4, True, 0.03, "constant")
    text = ("--optimizer adamw --lr 0.5 --weight-decay 0.1 --schedule sgdr --restart-epochs 3 --label-smoothing 0.1 "
            "--cutout 2 --ema-decay 0.9 --no-bf16 --clip-norm 1 --compile --batch-size 32 --seed 7 --device cpu "
            "--crop-padding 0 --no-flip --deterministic --drop-path 0.2 --spatial-dropout 0.1")  # fmt: skip
    task, found = options(*text.split(), data=synthetic)
    assert task == Classification(label_smoothing=0.1)
    assert found == TrainOptions(
        epochs=2, batch_size=32, optimizer="adamw", lr=0.5, weight_decay=0.1, schedule="sgdr", restart_epochs=3,
        cutout=2, ema_decay=0.9, amp=False, clip_norm=1.0, compile=True, seed=7, device="cpu",
        crop_padding=0, flip=False, deterministic=True, drop_path=0.2, spatial_dropout=0.1,
    )  # fmt: skip


def test_help_teaches_by_examples(fresh) -> None:
    out = fresh("from chanc.cli import main\nmain(['train', '--help'])")
    for piece in ("Examples:", "torchrun", "--insert-batchnorm", "Schedule:", "Running:"):
        assert piece in out.stdout
    listed = out.stdout.split("Other:")[1]
    assert [line.split()[0] for line in listed.strip().splitlines()] == ["-h,"]


@pytest.mark.parametrize("end", ["Softmax", "LogSoftmax"])
def test_last_softmax_is_left_out_while_training(end, tmp_path) -> None:
    data = datasets.load("digits", limit_train=400)
    plain, ended = network(), network(end=end)
    options = TrainOptions(epochs=2, batch_size=64, crop_padding=1, flip=False, seed=1, device="cpu")
    (before, expected), (same, found) = (taught(one, data, options) for one in (plain, ended))
    assert (same, found.score, found.loss) == (before, expected.score, expected.loss)
    assert [node.op_type for node in ended.graph][-1] == end
    for name, value in plain.graph.initializers.items():
        assert np.array_equal(value.const_value.numpy(), ended.graph.initializers[name].const_value.numpy())


def test_auxiliary_output_is_trained_too() -> None:
    graph = Graph(seed=1, scale=3**-0.5)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(8, bias=False).bn().relu()
    side = x.gap().flatten().gemm(10)
    model = graph.ir(x.conv(12, stride=2, bias=False).bn().relu().gap().flatten().gemm(10), side)
    weight = next(node for node in model.graph if node.outputs[0].name == side.name).inputs[1]
    before = weight.const_value.numpy().copy()
    data = datasets.load("digits")
    options = TrainOptions(epochs=2, batch_size=32, schedule="cosine", crop_padding=1, flip=False, device="cpu")
    top1, found = taught(model, data, options)
    assert found.score > top1 + 0.2
    assert np.abs(weight.const_value.numpy() - before).max() > 0.01


def test_norms_of_a_model_with_a_fixed_batch() -> None:
    data = datasets.load("digits", limit_train=60)
    found = []
    for batch in (None, 7):
        model = network(batch=batch)
        fold_batchnorm(model)
        assert recover_norms(model, data)
        norm = next(node for node in model.graph if node.op_type == "BatchNormalization")
        found.append(norm.inputs[4].const_value.numpy())
    # 56 of the 60 images fill batches of 7.
    np.testing.assert_allclose(found[1], found[0], rtol=0.2)


def folded_and_recovered(kept: ir.Model, seed: int, epochs: int) -> tuple[float, float]:
    """top-1 after fine-tuning: of a network that kept its norms; of its twin, folded and with norms inserted again."""
    data = datasets.load("digits")
    common = {"batch_size": 64, "crop_padding": 1, "flip": False, "schedule": "cosine", "device": "cpu", "seed": seed}
    taught(kept, data, TrainOptions(epochs=2, **common))
    bare = copy_model(kept)
    assert fold_batchnorm(bare)
    assert "BatchNormalization" not in [node.op_type for node in bare.graph]
    twin = copy_model(bare)
    assert recover_norms(twin, data)
    feeds = ort.random_feeds(bare, batch=4)
    np.testing.assert_allclose(ort.run(twin, feeds)[0], ort.run(bare, feeds)[0], rtol=1e-4, atol=1e-4)
    options = TrainOptions(epochs=epochs, lr=0.05, **common)
    return tuple(taught(one, data, options)[1].score for one in (kept, twin))


@pytest.mark.parametrize("seeds", [1, pytest.param(3, marks=pytest.mark.nightly)])
def test_folded_norms_come_back(seeds: int) -> None:
    kept, recovered = zip(*(folded_and_recovered(network(seed=seed), seed, 4) for seed in range(seeds)), strict=True)
    assert np.mean(recovered) >= np.mean(kept)


@pytest.mark.nightly
def test_folded_norms_come_back_in_ten_epochs(tmp_path) -> None:
    """A ResNet18 of 8 channels; benchmarks/batchnorm.py has more seeds of it."""
    scores = []
    for seed in range(4):
        torch.manual_seed(seed)
        module = zoo.build("resnet18", width=8, classes=10, channels=1)
        export(module, torch.zeros(2, 1, 8, 8), tmp_path / "resnet.onnx")
        scores.append(folded_and_recovered(load(tmp_path / "resnet.onnx"), seed, 10))
    kept, recovered = zip(*scores, strict=True)
    assert np.mean(recovered) >= np.mean(kept)


def test_insert_batchnorm_on_the_command_line(tmp_path, capsys) -> None:
    bare = network()
    fold_batchnorm(bare)
    save(bare, tmp_path / "bare.onnx")
    out = tmp_path / "out.onnx"
    common = ("--data", "digits", "--epochs", 1, "--limit-train", 200, "--insert-batchnorm", "-o", out)
    trained(tmp_path / "bare.onnx", *common)
    assert [node.op_type for node in load(out).graph].count("BatchNormalization") == 3
    assert "wrote" in capsys.readouterr().out
    trained(out, *common, "--quiet", "--force")
    assert capsys.readouterr().out.startswith("wrote")


def test_progress_on_a_terminal_and_quiet() -> None:
    screen = io.StringIO()
    progress = TrainingProgress(2, console=Console(file=screen, force_terminal=True, width=100))
    with progress.shown():
        progress.step(StepInfo(0, 4, 10, torch.zeros(())))
        progress.epoch(EpochRecord(0, 1.25, 0.5, 1.0, 0.1), None)
        progress.step(StepInfo(1, 9, 10, torch.zeros(())))
    shown = screen.getvalue()
    assert "epoch 1/2  loss 1.2500  top-1 50.00%  lr 0.1" in shown
    assert "100%" in shown
    quiet = TrainingProgress(2, quiet=True, console=Console(file=screen))
    with quiet.shown():
        quiet.epoch(EpochRecord(0, 1.25, 0.5, 1.0, 0.1), None)
    assert screen.getvalue() == shown


@pytest.mark.nightly
def test_torchrun_gives_the_file_of_one_process(tmp_path, model) -> None:
    common = (model, "--data", "digits", "--epochs", "2", "--lr", "0.02", "--checkpoint")
    trained(*common, tmp_path / "one.safetensors", "-o", tmp_path / "one.onnx")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "chanc"]
    several = (*launch, "train", *common, tmp_path / "two.safetensors", "-o", tmp_path / "two.onnx")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, several)), capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stdout.count("wrote ") == 1
    assert structure(tmp_path / "one.onnx") == structure(tmp_path / "two.onnx")
    one, two = values(tmp_path / "one.onnx"), values(tmp_path / "two.onnx")
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=0, atol=1e-5)


def test_the_input_is_asked_for_recorded_and_baked(tmp_path, model, capsys) -> None:
    out = tmp_path / "out.onnx"
    common = ("--data", "digits", "--epochs", 1, "--limit-train", 100, "-o", out)
    trained(model, *common, "--normalise", "0.5/0.25", "--scale-pixels", "1/255")
    said = capsys.readouterr().out.splitlines()
    assert "note: the input is (pixels / 255 - 0.5) / 0.25, channels first (NCHW): as asked for" in said
    assert load(out).metadata_props == {
        "chanc.input.scale": repr(1 / 255), "chanc.input.mean": "0.5", "chanc.input.std": "0.25",
        "chanc.input.layout": "NCHW",
    }  # fmt: skip
    trained(out, *common, "--force", "--bake")
    assert "as the model's metadata says" in capsys.readouterr().out
    baked = load(out)
    assert [node.op_type for node in baked.graph][:2] == ["Mul", "Add"]
    assert baked.metadata_props["chanc.input.scale"] == "1.0"
    assert "--normalise half" in refused(capsys, model, *common, "--force", "--normalise", "half")


def test_another_input_is_another_training(tmp_path, model, capsys) -> None:
    checkpoint = tmp_path / "c.safetensors"
    common = (model, "--data", "digits", "--epochs", 1, "--limit-train", 100, "--checkpoint", checkpoint)
    trained(*common, "-o", tmp_path / "out.onnx")
    other = (*common, "--resume", "--normalise", "none", "-o", tmp_path / "other.onnx")
    assert "was made with other data" in refused(capsys, *other)
