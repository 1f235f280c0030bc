"""`chanc prune`: what it writes and says; one clear line, and nothing written, for what can't be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

from PIL import Image

from chanc.cli import main
from chanc.runs import read_run
from chanc.testing import builders

RNG = np.random.default_rng(0)
TASKS = """
from dataclasses import dataclass

from chanc.training.inputs import fit_samples
from chanc.training.task import Task


@dataclass(frozen=True)
class Closeness(Task):
    weight: float = 1.0
    name = "closeness"
    score_name = "closeness"

    def fit(self, model, data):
        return fit_samples(model, data)

    def loss(self, outputs, batch):
        (said,) = outputs.values()
        return self.weight * (said - batch.labels).square().mean()

    def score(self, outputs, batch):
        return -self.loss(outputs, batch) * len(batch), len(batch)
"""


def classifier(end: str = "y = Identity (h)") -> onnx.ModelProto:
    """Grey images of 6 x 6 to four classes."""
    body = f"""
    a = Conv <pads = [1, 1, 1, 1]> (image, stem, stem_bias) r = Relu (a)
    b = Conv <pads = [1, 1, 1, 1]> (r, body, body_bias) s = Relu (b)
    p = GlobalAveragePool (s) f = Flatten (p) h = Gemm (f, head) {end}
    """
    shapes = {"stem": (16, 1, 3, 3), "stem_bias": (16,), "body": (16, 16, 3, 3), "body_bias": (16,), "head": (16, 4)}
    return builders.build("float[N,1,6,6] image", "float[N,4] y", body, shapes)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A classifier that tells how it takes its pixels, one that says NaN, images, inputs, a task."""
    model = classifier()
    onnx.helper.set_model_props(model, {"chanc.input.scale": "1"})
    onnx.save(model, tmp_path / "m.onnx")
    onnx.save(classifier("e = Exp (h) n = Neg (e) y = Sqrt (n)"), tmp_path / "nan.onnx")
    (tmp_path / "photos").mkdir()
    for number in range(20):
        Image.fromarray(RNG.integers(0, 256, (6, 6), dtype=np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "read.me").write_text("no image")
    np.savez(tmp_path / "feeds.npz", image=RNG.random((40, 1, 6, 6), np.float32))
    np.savez(tmp_path / "large.npz", image=RNG.random((40, 1, 9, 6), np.float32))
    np.savez(tmp_path / "bytes.npz", image=RNG.integers(0, 256, (40, 1, 6, 6), dtype=np.uint8))
    answers = {"image": RNG.random((40, 1, 6, 6), np.float32), "labels": RNG.random((40, 4), np.float32)}
    np.savez(tmp_path / "answers.npz", **answers)
    images = {f"x_{part}": RNG.integers(0, 256, (24, 6, 6), np.uint8) for part in ("train", "test")}
    for name, classes in (("sorts", 6), ("kinds", 4)):
        labels = {f"y_{part}": np.arange(24) % classes for part in ("train", "test")}
        np.savez(tmp_path / f"{name}.npz", **images, **labels)
    (tmp_path / "own_prune_tasks.py").write_text(TASKS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(tmp_path.glob("*.tmp*"))


def run(*args: str) -> int:
    try:
        main(list(args))
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


MACS = ("--max-macs", "50%")
BAD = {
    "a budget that can't be met": (
        ("--max-macs", "1", "--data", "feeds.npz"), "the budget of 1 MACs can't be met: the least that can be had is"),
    "the same by weights": (("--max-params", "1"), "the budget of 1 params can't be met: the least"),
    "no budget": (("--data", "feeds.npz"), "pruning needs a budget: params, MACs, or a latency"),
    "labels that outputs don't fit": (
        (*MACS, "--data", "sorts.npz", "--task", "classification"),
        "the model has 4 classes, the data set sorts has 6"),
    "no labels": ((*MACS, "--data", "photos", "--task", "classification"), "photos has no labels"),
    "a task of one's own that they don't fit": (
        (*MACS, "--data", "feeds.npz", "--task", "own_prune_tasks:Closeness"),
        "the task closeness failed: TypeError: unsupported operand type(s) for -: 'Tensor' and 'NoneType'"),
    "a task that isn't there": (
        (*MACS, "--data", "feeds.npz", "--task", "own_prune_tasks:Far"), "own_prune_tasks has no task 'Far'"),
    "inputs of another size": (
        (*MACS, "--data", "large.npz"), "a sample of 'image' is 1x9x6, the model takes 1x6x6"),
    "inputs of another type": ((*MACS, "--data", "bytes.npz"), "bytes has uint8 for 'image', the model takes float32"),
    "a folder without images": ((*MACS, "--data", "papers"), "papers holds no images"),
    "a folder that isn't there": ((*MACS, "--data", "nowhere"), "nowhere does not exist"),
    "a pattern of nothing": (
        (*MACS, "--data", "feeds.npz", "--keep", "stemm.*"), "no channel group matches 'stemm.*' (did you mean 'stem"),
    "a ratio of nothing": ((*MACS, "--ratio", "bodi.*=0.5"), "no channel group matches 'bodi.*' (did you mean 'body"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_one_clear_line_and_nothing_written(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args, told = BAD[name]
    before = sorted(place.rglob("*"))
    assert run("prune", "m.onnx", "-o", "out.onnx", *args, "--epochs", "0") == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note:")]
    assert len(lines) == 1
    assert told in lines[0]
    assert [path for path in sorted(place.rglob("*")) if "__pycache__" not in path.parts] == before


def test_a_teacher_that_says_nan(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(place.rglob("*"))
    assert run("prune", "nan.onnx", "-o", "out.onnx", *MACS, "--data", "feeds.npz") == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note:")]
    assert len(lines) == 1
    assert "holds NaN or Inf: nothing can be learned from it" in lines[0]
    assert sorted(place.rglob("*")) == before


def test_images_of_a_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ("--epochs", "1", "--batch-size", "8", "--device", "cpu", "--insert-batchnorm")
    assert run("prune", "m.onnx", "-o", "out.onnx", *MACS, "--data", "photos", *args) == 0
    said = capsys.readouterr().out
    assert "agreement" in said
    assert "the input is pixels, channels first (NCHW): as the model's metadata says" in said
    assert (place / "out-prune" / "report.html").exists()
    pruned = onnx.load("out.onnx")
    assert [node.op_type for node in pruned.graph.node] == [node.op_type for node in onnx.load("m.onnx").graph.node]


def test_bare_convolutions_are_lent_batchnorm_where_labels_are_learned(place: Path) -> None:
    for task, args, lent in (("classification", (), True), ("distillation", ("--insert-batchnorm",), True)):
        out = f"{task}{len(args)}.onnx"
        asked = ("--data", "kinds.npz", "--task", task, "--epochs", "0", "--no-refit", *args)
        assert run("prune", "m.onnx", "-o", out, *MACS, *asked) == 0
        record = read_run(place / f"{task}{len(args)}-prune")
        assert record.settings["insert_batchnorm"] is lent
        assert "chanc.input.mean" in {entry.key for entry in onnx.load(out).metadata_props}, "how it takes its pixels"


def test_a_task_of_ones_own_judges_channels_in_prune_and_rewrite(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = ("--data", "answers.npz", "--task", "own_prune_tasks:Closeness")
    assert run("prune", "m.onnx", "-o", "pruned.onnx", *MACS, *task, "--task-option", "weight=2", "--epochs", "0") == 0
    assert "closeness" in capsys.readouterr().out
    assert run("rewrite", "m.onnx", "-o", "rewritten.onnx", *MACS, *task, "--importance", "taylor") == 0
    other = (*task[:3], "own_prune_tasks:Far", "--importance", "taylor")
    assert run("rewrite", "m.onnx", "-o", "no.onnx", *MACS, *other) == 1
    assert not (place / "no.onnx").exists()
