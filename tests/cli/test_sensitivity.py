"""`chanc analyze --sensitivity`: table, picture, plan and JSON, and what is wrong usage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

import chanc
from chanc.cli import main
from chanc.testing.graphs import Graph


def run(*args: object) -> int:
    try:
        main([*map(str, args)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two free groups, of which half the channels of one are read by zeros, and images."""
    home, graph, rng = tmp_path_factory.mktemp("sensitivity"), Graph(seed=0, scale=0.7), np.random.default_rng(0)
    x = graph.input("image", [2, 1, 6, 6], dynamic={0: "n"}).conv(8).relu().conv(6).relu()
    model = graph.ir(x.gap().flatten().gemm(4))
    (_, second) = (node.inputs[1] for node in model.graph if node.op_type == "Conv")
    array = second.const_value.numpy().copy()
    array[:, 4:] = 0
    second.const_value = ir.tensor(array, name=second.name)
    model.metadata_props.update({"chanc.input.scale": "1"})
    chanc.save(model, home / "m.onnx")
    parts = {"train": 30, "test": 16}
    images = {f"x_{part}": rng.integers(0, 256, (count, 6, 6), np.uint8) for part, count in parts.items()}
    labels = {f"y_{part}": np.arange(count) % 4 for part, count in parts.items()}
    np.savez(home / "data.npz", **images, **labels)
    return home


def test_table_plan_and_picture(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    model, plan, picture, content = (place / name for name in ("m.onnx", "plan.json", "losses.png", "all.json"))
    asked = ["--sensitivity", "--data", place / "data.npz", "--ratios", ".5,.75", "--max-rise", 0]
    assert run("analyze", model, *asked, "--plan", plan, "--picture", picture, "--json", content) == 0
    said = capsys.readouterr().out
    dead = next(line.split() for line in said.splitlines() if line.startswith("w_1 "))
    assert dead == ["w_1", "8", "+0", "+0", "4"]
    assert "plan: 1 of 2 groups shrink" in said
    assert json.loads(plan.read_text()) == {"w_1": {"keep": [0, 1, 2, 3]}}
    assert picture.read_bytes().startswith(b"\x89PNG")
    written = json.loads(content.read_text())
    assert [curve["group"] for curve in written["sensitivity"]["curves"]] == [
        group["id"] for group in written["groups"] if group["resizable"]
    ]
    small = place / "s.onnx"
    assert run("rewrite", model, "--plan", plan, "-o", small) == 0
    capsys.readouterr()
    assert run("eval", model, small, "--data", place / "data.npz", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["outputs"][0]["relative"] < 1e-6


def test_wrong_usage(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = place / "m.onnx", place / "data.npz"
    for args, line in (
        (["--sensitivity"], "--sensitivity needs --data"),
        (["--plan", "p.json"], "--plan is for --sensitivity"),
        (["--sensitivity", "--data", data, "--picture", place / "p.pdf"], "a picture is .svg or .png"),
        (["--sensitivity", "--data", data, "--ratios", "half"], "are no shares between commas"),
    ):
        assert run("analyze", model, *args) == 2
        assert line in capsys.readouterr().err
    assert run("analyze", model, "--sensitivity", "--data", data, "--ratios", "2") == 1
    assert "a ratio is a share of the channels, above 0 and below 1, not 2.0" in capsys.readouterr().err


def test_no_plan_no_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--sensitivity", "--data", place / "data.npz", "--ratios", ".99", "--max-rise", 0]
    assert run("analyze", place / "m.onnx", *asked, "--plan", place / "none.json") == 1
    assert "no group can keep less" in capsys.readouterr().err
    assert not (place / "none.json").exists()
