"""The benchmark of models of others: inputs are what was asked for, NMS picks, and the page says what was measured."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("PIL")
pytest.importorskip("onnxruntime")

from chanc.backends import ort
from chanc.testing.builders import build

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return importlib.import_module


@pytest.mark.parametrize(("kind", "shape"), [
    ("directions", (3, 48, 192)), ("lines", (3, 48, 160)), ("speech-mel", (76, 32, 1)), ("speech-chunks", (12, 576)),
])  # fmt: skip
def test_the_same_seed_gives_the_same_inputs(load: Load, kind: str, shape: tuple[int, ...]) -> None:
    real_inputs = load("real_inputs")
    one, same, other = (real_inputs.inputs(kind, 2, "train", seed) for seed in (0, 0, 1))
    name = real_inputs.KINDS[kind][0]
    assert one[name].shape == (2, *shape)
    assert one[name].dtype == np.float32
    assert all(np.array_equal(one[key], same[key]) for key in one)
    assert not np.array_equal(one[name], other[name])
    assert not np.array_equal(one[name], real_inputs.inputs(kind, 2, "test", 0)[name])
    assert one[name].std() > 0.01


def test_chunks_overlap_as_a_voice_detector_reads_them(load: Load) -> None:
    (chunks,) = load("real_inputs").inputs("speech-chunks", 1, "train", 0)["input"]
    assert np.array_equal(chunks[1:, :64], chunks[:-1, -64:])


def test_nms_behind_a_network(load: Load, tmp_path: Path) -> None:
    """A network that sees a face wherever a pixel is bright, and moves no box."""
    real_detector = load("real_detector")
    body = """
    t = Transpose <perm = [0, 3, 1, 2]> (x) c = MaxPool <kernel_shape = [12, 12], strides = [2, 2]> (t)
    m = ReduceMax <axes = [1], keepdims = 1> (c) zero = Mul (m, none) four = Concat <axis = 1> (zero, zero, zero, zero)
    less = Sub (one, m) two = Concat <axis = 1> (less, m)
    raw = Transpose <perm = [0, 2, 3, 1]> (four) p = Transpose <perm = [0, 2, 3, 1]> (two)
    """
    constants = {"none": np.float32(0), "one": np.float32(1)}
    onnx.save(build("float[N,W,H,3] x", "float raw, float p", body, constants, opset=12), tmp_path / "net.onnx")
    whole = real_detector.with_nms(tmp_path / "net.onnx", tmp_path / "whole.onnx", 32)
    picture = np.zeros((1, 32, 32, 3), np.float32)
    picture[0, 1, 21] = 1
    boxes, scores = ort.run(whole, {"x": picture})
    assert scores.tolist() == [1.0] * len(scores)
    assert ((boxes[:, 0] <= 1) & (boxes[:, 1] <= 21) & (boxes[:, 3] > 21)).all()
    assert (real_detector.overlaps(boxes, boxes) > real_detector.OVERLAP).sum() == len(boxes) > 0
    assert real_detector.picked_again(whole, whole, {"x": picture}) == [len(boxes)] * 3


def line(name: str) -> dict[str, object]:
    return {"row": name, "macs": [2_000_000, 990_000], "params": [8_000, 4_000],
            "agreement": {"cut": 0.25, "refitted": 0.5, "trained": 0.75}, "outputs": [["y", 0.125, 0.9, None]],
            "picked": [12, 11, 10] if name == "face-p-nms" else None, "ms": [2.0, 1.0], "ratio": [0.5, 48, 50],
            "cpu_s": 3.0, "mb": 900, "left": {}, "said": []}  # fmt: skip


def test_the_page(load: Load, tmp_path: Path) -> None:
    prune_real, prune_real_page = load("prune_real"), load("prune_real_page")
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps(line(name)) + "\n" for name in ("face-p-nms", "face-r")), encoding="utf-8")
    text = prune_real_page.page(prune_real.done(lines))
    assert text.index("| face-r | faces and pieces") < text.index("| face-p-nms | photographs with")
    assert "| 0.250 | 0.500 | 0.750 |" in text
    assert "| face-r | 2.00M → 0.99M | 8k → 4k | 2.00 → 1.00 | 0.50 | 48 of 50 | 3 | 900 |" in text
    assert "the original picks 12 boxes, the pruned one 11; 10 of the original's have" in text
    assert set(prune_real_page.MADE) >= {row.kind for row in prune_real.ROWS.values()}
