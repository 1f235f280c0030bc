"""`chanc latency`: what it prints, its JSON, and one line for what can't be. How long isn't asserted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")

from chanc.cli import main
from chanc.testing.builders import build


def run(*args: object) -> int:
    try:
        main(["latency", *map(str, args)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(build("float[n,t,3] x", "float y", "y = Relu(x)", {}), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_one_model(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--repeats", 3, "--dim", "t=5", "--batch", 2) == 0
    heads, row = capsys.readouterr().out.splitlines()
    assert heads.split() == ["ms", "a", "run", "provider", "inputs", "median", "p10", "p90", "runs"]
    name, provider, shape, *times, runs = row.split()
    assert (name, provider, shape, runs) == ("m.onnx", "cpu", "2x5x3", "3")
    median, low, high = map(float, times)
    assert 0 < low <= median <= high


def test_two_models(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, model, "--repeats", 4, "--dim", "t=5", "--threads", 1) == 0
    *_, verdict = capsys.readouterr().out.splitlines()
    assert verdict.startswith(f"cpu: {model} takes ")
    assert "of 4 turns" in verdict
    assert run(model, model, "--seconds", 0.001, "--dim", "t=5", "--json", "-") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["threads"] is None
    assert [row["inputs"] for row in content["latencies"]] == [{"x": [1, 5, 3]}] * 2
    assert content["ratios"][0]["turns"] >= 3


def test_inputs_of_ones_own(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    feeds = model.with_name("feeds.npz")
    np.savez(feeds, x=np.zeros((4, 2, 3), np.float32))
    assert run(model, "--repeats", 1, "--inputs", feeds) == 0
    assert "4x2x3" in capsys.readouterr().out
    assert run(model, "--inputs", feeds, "--batch", 2) == 2


@pytest.mark.parametrize(("args", "line"), [
    (["--providers", "abacus"], "onnxruntime has no execution provider 'abacus'; here it has"),
    (["--providers", ","], "a latency needs a provider"),
    (["--dim", "q=3"], "no open axis of the model's inputs is called 'q'"),
    (["--shape", "x=4,2,3", "--batch", "2"], "the model can't be run on a batch of 2: it runs on x [4, 2, 3]"),
])  # fmt: skip
def test_one_clear_line(model: Path, capsys: pytest.CaptureFixture[str], args: list[str], line: str) -> None:
    assert run(model, *args) == 1
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
