from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chanc.cli import main
from chanc.cli.options import Count
from chanc.cli.search import arguments, command


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two convolutions and a classifier for 10 classes of 8x8 grey images."""
    rng = np.random.default_rng(0)
    shapes = {"a.weight": (8, 1, 3, 3), "b.weight": (8, 8, 3, 3), "fc.weight": (10, 8)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.3, s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "a.weight"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["ra"]),
        helper.make_node("Conv", ["ra", "b.weight"], ["b"], pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["b"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fc.weight"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        weights,
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def refused(capsys: pytest.CaptureFixture[str], *args: str, code: int = 1) -> str:
    """Run the command, and return the one line that it refuses with."""
    with pytest.raises(SystemExit) as stop:
        main(["search", *args])
    assert stop.value.code == code
    error = capsys.readouterr().err.strip()
    if code == 1:
        assert len(error.splitlines()) == 1
        assert error.startswith("chanc: ")
    return error


@pytest.mark.parametrize(
    ("text", "count"), [("500000", 500_000), ("500k", 500_000), ("1.5M", 1_500_000), ("2G", 2 * 10**9), ("1_000", 1000)]
)
def test_counts(text: str, count: int) -> None:
    assert Count().convert(text, None, None) == count


@pytest.mark.parametrize("text", ["", "k", "-3", "0", "many", "1e999", "1,5M", "1,000", "1,5"])
def test_bad_counts_are_wrong_usage(text: str) -> None:
    with pytest.raises(click.UsageError):
        Count().convert(text, None, None)


def parsed(*args: str) -> dict[str, Any]:
    params = command.make_context("search", ["m.onnx", *args]).params
    return arguments({name: value for name, value in params.items() if name != "model"})


def test_options_reach_the_call() -> None:
    text = "--algo sa --gamma 0.5 --max-params 1.5M --lr 0.1 --no-flip --final-lr 0.2 --adas-carry --round-to 8"
    call = parsed(*text.split(), "--trials", "3", "--compare", "uniform, random")
    assert call["algo"] == "sa"
    assert call["options"] == {"gamma": 0.5, "round_to": 8}
    assert call["train"] == {"lr": 0.1, "flip": False}
    assert call["final"] == {"lr": 0.2, "flip": False}
    assert (call["max_params"], call["trials"], call["carry_optimizer"]) == (1_500_000, 3, True)
    assert call["compare"] == ["uniform", "random"]
    assert parsed("--compare", "none")["compare"] == []


def test_every_option_is_taken_by_the_call() -> None:
    import inspect

    from chanc.study.study import search

    assert set(parsed()) <= set(inspect.signature(search).parameters)


def test_option_of_another_method_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, "m.onnx", "--algo", "greedy", "--delta", "0.1", code=2)
    assert "--delta is no option of the greedy search" in error


def test_help_teaches_by_examples(capsys: pytest.CaptureFixture[str]) -> None:
    main(["search", "--help"])
    out = capsys.readouterr().out
    for piece in ("Examples:", "--preset conetv2-resnet34", "Widths:", "Final training:", "--resume"):
        assert piece in out
    quiet, asked = out.split("Other:")[1].strip().splitlines()
    assert quiet.startswith("--quiet")
    assert "--help" in asked


def test_bad_inputs_are_one_line_and_write_nothing(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    (tmp_path / "text.onnx").write_text("hello\n")
    (tmp_path / "torn.onnx").write_bytes(model.read_bytes()[:200])
    for bad in ("none.onnx", "text.onnx", "torn.onnx"):
        assert bad in refused(capsys, str(tmp_path / bad), "--out", str(out))
    assert "nowhere" in refused(capsys, str(model), "--data", str(tmp_path / "nowhere"), "--out", str(out))
    assert "holds no run to resume" in refused(capsys, str(model), "--out", str(out), "--resume")
    assert not out.exists()


def test_other_classes_than_the_data_set(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = np.zeros((40, 1, 8, 8), np.uint8), np.arange(40) % 4
    np.savez(tmp_path / "four.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    error = refused(capsys, str(model), "--data", str(tmp_path / "four.npz"), "--out", str(tmp_path / "run"))
    assert "the model has 10 classes, the data set four has 4" in error
    assert not (tmp_path / "run").exists()


def test_budget_that_no_width_meets(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, str(model), "--max-params", "100", "--out", str(tmp_path / "run"))
    assert "the budget of 100 params can't be met" in error
    assert not (tmp_path / "run").exists()


def test_output_folder_below_a_file(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, str(model), "--out", str(model / "run"))
    assert "can't be written: Not a directory" in error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_folder_without_permission(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "Permission denied" in refused(capsys, str(model), "--out", str(tmp_path / "locked" / "run"))


def test_the_input_is_asked_for_and_baked(
    check_source, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    common = ["search", str(model), "--trials", "1", "--epochs", "1", "--limit-train", "100", "--normalise", "0.5/0.25"]
    main([*common, "--algo", "random", "--bake", "--out", str(tmp_path / "run")])
    assert "note: the input is (pixels / 255 - 0.5) / 0.25, channels first (NCHW): as asked for" in " ".join(
        capsys.readouterr().out.split()
    )
    best, trial = (onnx.load(tmp_path / "run" / name) for name in ("best.onnx", "trials/000/model.onnx"))
    assert [node.op_type for node in best.graph.node][:3] == ["Mul", "Add", "Conv"]
    scales = [{entry.key: entry.value for entry in one.metadata_props}["chanc.input.scale"] for one in (best, trial)]
    assert scales == ["1.0", repr(1 / 255)]
    assert check_source(tmp_path / "run")[0] == 0
    again = [*common[1:-1], "0.5/0.5", "--algo", "random", "--resume", "--out", str(tmp_path / "run")]
    assert 'was made with other settings: chanc.input.std was "0.25", now it is "0.5"' in refused(capsys, *again)
