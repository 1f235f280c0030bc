"""`chanc eval`: what it prints, its JSON, and one line for what can't be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

import chanc
from chanc.cli import main
from chanc.testing.graphs import Graph


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that tells how it takes its pixels, the same at half its widths, images, and inputs."""
    home, graph, rng = tmp_path_factory.mktemp("eval"), Graph(seed=0, scale=0.7), np.random.default_rng(0)
    x = graph.input("image", [2, 1, 6, 6], dynamic={0: "n"}).conv(8).relu().conv(6).relu()
    model = graph.ir(x.gap().flatten().gemm(4))
    model.metadata_props.update({"chanc.input.scale": "1"})
    chanc.save(model, home / "m.onnx")
    chanc.save(chanc.rewrite(model, scale=0.5).model, home / "h.onnx")
    parts = {"train": 30, "test": 16}
    images = {f"x_{part}": rng.integers(0, 256, (count, 6, 6), np.uint8) for part, count in parts.items()}
    labels = {f"y_{part}": np.arange(count) % 4 for part, count in parts.items()}
    np.savez(home / "data.npz", **images, **labels)
    np.savez(home / "feeds.npz", image=rng.random((5, 1, 6, 6), np.float32))
    return home


def run(place: Path, *args: str) -> int:
    try:
        main([args[0], *(str(place / arg) if arg.endswith((".onnx", ".npz", ".json")) else arg for arg in args[1:])])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_a_score(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "eval", "m.onnx", "--data", "data.npz") == 0
    told, heads, row = capsys.readouterr().out.splitlines()
    assert told == "the input is pixels, channels first (NCHW): as the model's metadata says"
    assert heads.split() == ["top-1", "(%)", "±", "n"]
    found = chanc.evaluate(place / "m.onnx", data=place / "data.npz").score
    assert found is not None
    assert found.error is not None
    assert row.split() == ["m.onnx", f"{100 * found.value:.2f}", f"{100 * found.error:.2f}", "16"]


def test_two_models(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "eval", "m.onnx", "h.onnx", "--data", "data.npz") == 0
    said = capsys.readouterr().out
    assert " points, paired" in said
    assert "over 16 samples; relative error: ||other - one|| / ||one||" in said
    assert run(place, "eval", "m.onnx", "h.onnx", "--data", "data.npz", "--json", "-") == 0
    content = json.loads(capsys.readouterr().out)
    assert [score["samples"] for score in content["scores"]] == [16, 16]
    assert content["outputs"][0]["of"] == "top-1"
    assert run(place, "eval", "m.onnx", "h.onnx", "--data", "data.npz", "--json", "out.json") == 0
    assert json.loads((place / "out.json").read_text()) == content


def test_inputs_tell_of_two_models(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "eval", "m.onnx", "h.onnx", "--data", "feeds.npz") == 0
    said = capsys.readouterr().out
    assert said.startswith("the inputs are fed as they are\n")
    assert "top-1" not in said
    assert "over 5 samples" in said


@pytest.mark.parametrize(("args", "line"), [
    (["m.onnx", "--data", "feeds.npz"], "data without labels tell of two models how far they agree: give the other"),
    (["none.onnx", "--data", "data.npz"], "no such file"),
    (["m.onnx", "--data", "nowhere"], "nowhere does not exist, and the data sets known by name are"),
    (["m.onnx", "--data", "data.npz", "--normalise", "half"], "--normalise half"),
    (["m.onnx", "--data", "data.npz", "--json", "m.onnx"], "would overwrite the input"),
])  # fmt: skip
def test_one_clear_line(place: Path, capsys: pytest.CaptureFixture[str], args: list[str], line: str) -> None:
    assert run(place, "eval", *args) == 1
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
