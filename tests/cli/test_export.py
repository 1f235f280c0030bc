from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from chanc.cli import main  # noqa: E402

FACTORY = """
from torch import nn

def small(classes=5):
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    return nn.Sequential(*layers)
"""


@pytest.fixture(scope="module", autouse=True)
def _one_torch_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _exit_code(*args: str) -> int:
    try:
        main(["export", *args])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _weights(path: str) -> dict:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def test_zoo_network(here, capsys):
    assert _exit_code("zoo:resnet34", "--width", "16", "--classes", "10", "--size", "32", "-o", "r34.onnx") == 0
    out = capsys.readouterr()
    assert out.out == (
        "wrote r34.onnx: zoo:resnet34, 76250 params, input [batch, 3, 32, 32] -> output [batch, 10], "
        "opset 17 (torchscript)\n"
    )
    assert out.err == ""
    assert [path.name for path in here.iterdir()] == ["r34.onnx"]
    onnx.checker.check_model(onnx.load("r34.onnx"), full_check=True)
    assert _weights("r34.onnx")["layer4.2.conv2.weight"].shape == (16, 16, 3, 3)


def test_zoo_options(here, capsys):
    args = ["--width", "8", "--classes", "4", "--size", "40", "--channels", "1", "--aux", "--opset", "16"]
    assert _exit_code("zoo:darts7", *args, "-o", "d.onnx") == 0
    line = capsys.readouterr().out
    assert "input [batch, 1, 40, 40] -> output [batch, 4], auxiliary [batch, 4], opset 16" in line


@pytest.mark.nightly
def test_factory_in_a_subprocess(here):
    (here / "mynet.py").write_text(FACTORY)
    args = ["export", "torch:mynet:small", "--input", "1,1,9,9", "--classes", "3", "-o", "small.onnx"]
    # With -P Python leaves the working directory off the path, as it does for the installed command.
    done = subprocess.run([sys.executable, "-P", "-m", "chanc", *args], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("wrote small.onnx: torch:mynet:small, 63 params, input [batch, 1, 9, 9]")
    assert done.stderr == ""


def test_seed_decides_the_weights(here):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert _exit_code("zoo:resnet18", "--width", "4", "--seed", seed, "-o", f"{name}.onnx") == 0
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()
    assert (_weights("a.onnx")["conv1.weight"] != _weights("c.onnx")["conv1.weight"]).any()


def test_trained_weights(here, capsys):
    safetensors = pytest.importorskip("safetensors.torch")
    from chanc.frontends import open_spec

    state = open_spec("zoo:resnet18", seed=9, width=4).state_dict()
    safetensors.save_file(state, "w.safetensors")
    assert _exit_code("zoo:resnet18", "--width", "4", "--weights", "w.safetensors", "-o", "m.onnx") == 0
    assert (_weights("m.onnx")["layer2.0.conv1.weight"] == state["layer2.0.conv1.weight"].numpy()).all()
    capsys.readouterr()
    for change, says in (
        ({"conv1.weight": torch.zeros(4, 3, 1, 1)}, "conv1.weight has shape [4, 3, 1, 1], not [4, 3, 3, 3]"),
        ({"conv9.weight": torch.zeros(1)}, "has the unknown conv9.weight"),
    ):
        safetensors.save_file(state | change, "x.safetensors")
        assert _exit_code("zoo:resnet18", "--width", "4", "--weights", "x.safetensors", "-o", "no.onnx") == 1
        assert says in capsys.readouterr().err
    safetensors.save_file({"conv1.weight": state["conv1.weight"]}, "x.safetensors")
    assert _exit_code("zoo:resnet18", "--width", "4", "--weights", "x.safetensors", "-o", "no.onnx") == 1
    assert "does not fit the network: it lacks bn1.weight" in capsys.readouterr().err
    assert not Path("no.onnx").exists()


def test_list(capsys):
    assert _exit_code("--list") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["resnet34", "21,282,122", "20"] in rows
    assert ["darts7", "222,650", "48"] in rows


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["zoo:resnet19", "-o", "m.onnx"], "the zoo has no network 'resnet19'; it has resnet18"),
        (["resnet18", "-o", "m.onnx"], "torch:PACKAGE.MODULE:FACTORY or zoo:NAME"),
        (["zoo:googlenet", "--size", "4", "-o", "m.onnx"], "fails on inputs of shape [1, 3, 4, 4]"),
        (["zoo:resnet18", "--opset", "3", "-o", "m.onnx"], "writes opsets 7 to 20, not 3"),
        (["zoo:resnet18", "--weights", "nothing.safetensors", "-o", "m.onnx"], "nothing.safetensors"),
        (["zoo:resnet18", "--weights", "text", "-o", "m.onnx"], "text is not a safetensors file"),
        (["torch:not_there:net", "--input", "1,3,8,8", "-o", "m.onnx"], "there is no module 'not_there'"),
        (["zoo:resnet18", "-o", "missing/m.onnx"], "missing: No such file or directory"),
        (["zoo:resnet18", "-o", "."], "Is a directory"),
        (["zoo:resnet18", "--width", "4", "-o", "/proc/m.onnx"], "/proc/m.onnx"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(args, says, here, capsys):
    Path("text").write_text("not weights")
    assert _exit_code(*args) == 1
    err = capsys.readouterr().err
    assert err.startswith("chanc: ")
    assert err.count("\n") == 1
    assert says in err
    assert [path.name for path in here.iterdir()] == ["text"]


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["zoo:resnet18"],
        ["zoo:resnet18", "--width", "0", "-o", "m.onnx"],
        ["zoo:resnet18", "--input", "1,3,8,8", "-o", "m.onnx"],
        ["torch:a:b", "-o", "m.onnx"],
        ["torch:a:b", "--input", "1,x", "-o", "m.onnx"],
        ["torch:a:b", "--input", "1,0", "-o", "m.onnx"],
    ],
)
def test_wrong_usage(args, here):
    assert _exit_code(*args) == 2
    assert not list(here.iterdir())


def test_full_disk_leaves_nothing(here, monkeypatch, capsys):
    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert _exit_code("zoo:resnet18", "--width", "4", "-o", "m.onnx") == 1
    assert capsys.readouterr().err == "chanc: m.onnx: No space left on device\n"
    assert not list(here.iterdir())
