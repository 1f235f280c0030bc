"""`chanc codegen` from the outside: the folder stands alone, bad input leaves nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from chanc.cli import main  # noqa: E402
from chanc.testing.builders import build  # noqa: E402


def codegen(*args):
    """Run the command here: a process of its own would import torch once more. Returns the exit code."""
    try:
        main(["codegen", *map(str, args)])
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.fixture(scope="module")
def resnet34(zoo_model, tmp_path_factory):
    return shutil.copy(zoo_model("resnet34", width=8), tmp_path_factory.mktemp("models") / "r34-cifar.onnx")


def test_the_folder_stands_alone(resnet34, tmp_path):
    assert codegen(resnet34, "-o", tmp_path / "out", "--name", "ResNet34") == 0
    text = (tmp_path / "out" / "model.py").read_text()
    assert "chanc" not in text
    assert text.count("\n") < 150
    assert max(map(len, text.splitlines())) <= 120
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["check.py", "model.py", "model.safetensors"]
    shutil.copy(resnet34, tmp_path / "moved.onnx")
    check = [sys.executable, "-I", str(tmp_path / "out" / "check.py")]
    same = subprocess.run([*check, str(tmp_path / "moved.onnx"), "--size", "32"], capture_output=True, text=True)
    assert same.returncode == 0, same.stderr + same.stdout
    ruff = Path(sys.executable).with_name("ruff")
    if ruff.exists():
        for command in (["check", "--isolated", "--select", "E,F,W,I,UP,B"], ["format", "--isolated", "--check"]):
            ran = subprocess.run(
                [ruff, *command, "--line-length", "120", tmp_path / "out"], capture_output=True, text=True
            )
            assert ran.returncode == 0, ran.stdout


@pytest.mark.nightly
def test_check_notices_other_weights(check_source, resnet34, tmp_path):
    from safetensors.torch import load_file, save_file

    assert codegen(resnet34, "-o", tmp_path) == 0
    assert check_source(tmp_path, "--size", "32")[0] == 0
    weights = load_file(tmp_path / "model.safetensors")
    key = next(key for key in weights if key.endswith("conv1.weight"))
    save_file({**weights, key: weights[key] * 1.5}, tmp_path / "model.safetensors")
    assert "class R34Cifar(" in (tmp_path / "model.py").read_text()
    assert check_source(tmp_path, "--size", "32")[0] == 1


def test_a_weight_may_be_an_output(check_source, tmp_path):
    weights = {"w": np.ones((4, 6), np.float32), "e": np.arange(24, dtype=np.float32).reshape(6, 4)}
    model = build("float[N,4] x", "float y, float[6,4] e", "h = MatMul(x, w)\ny = MatMul(h, e)", weights)
    onnx.save(model, tmp_path / "tied.onnx")
    assert codegen(tmp_path / "tied.onnx", "-o", tmp_path / "out") == 0
    assert check_source(tmp_path / "out")[0] == 0


def test_refusals_are_one_line_and_write_nothing(tmp_path, capsys):
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="my.domain")
    values = [helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "odd.onnx")
    assert codegen(tmp_path / "odd.onnx", "-o", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "my.domain::Frobnicate node 'y'" in said
    assert not (tmp_path / "out").exists()
    assert codegen(tmp_path / "odd.onnx", "-o", tmp_path / "odd.onnx") == 1
    assert codegen(tmp_path / "odd.onnx", "-o", tmp_path / "out", "--name", "class") == 2
