from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from chanc.backends import ort
from chanc.cli import main
from chanc.testing.builders import build

WEIGHTS = {"w1": (6, 16), "w2": (16, 5), "pos": (1, 30, 16), "zero": np.array([0]), "one": np.array([1])}
BODY = """
h = MatMul(x, w1)
t = Shape<start=1, end=2>(x)
pick = Slice(pos, zero, t, one)
u = Add(h, pick)
s = Shape<end=2>(u)
heads = Concat<axis=0>(s, four, four)
v = Reshape(u, heads)
p = Transpose<perm=[0, 2, 1, 3]>(v)
q = Relu(p)
b = Transpose<perm=[0, 2, 1, 3]>(q)
size = Concat<axis=0>(s, minus)
w = Reshape(b, size)
y = MatMul(w, w2)
"""


def run(*arguments: object) -> int:
    """Run a command here: the exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    weights = {**WEIGHTS, "four": np.array([4]), "minus": np.array([-1])}
    onnx.save(build("float[N,T,6] x", "float[N,T,5] y", BODY, weights), path)
    return path


def test_analyze_counts_at_the_sizes_given(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("analyze", model, "--dim", "T=10", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["model"]["macs"] == 10 * (6 * 16 + 16 * 5)


@pytest.mark.parametrize("sizes", [["--dim", "T=10"], ["--dim", "T=10", "--dim", "N=3"], ["--shape", "x=2,10,6"]])
def test_rewrite_verifies_at_two_other_sizes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], sizes: list[str]
) -> None:
    made, trace = tmp_path / "half.onnx", tmp_path / "trace.json"
    assert run("rewrite", model, "-o", made, "--scale", 0.5, "--trace", trace, *sizes) == 0
    said = capsys.readouterr().out
    assert "also at" in said
    assert "T=5" in said
    assert "T=20" in said
    written = onnx.load(made).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in written] == ["N", "T", 6]
    for length in (1, 7, 30):
        (out,) = ort.run(str(made), {"x": np.zeros((2, length, 6), np.float32)})
        assert out.shape == (2, length, 5)
    assert run("verify", model, made, "--trace", trace, "--dim", "T=17") == 0


def test_sizes_at_which_the_original_fails_are_left_out(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table has 30 rows: 48 positions are too many."""
    assert run("rewrite", model, "-o", tmp_path / "half.onnx", "--scale", 0.5, "--dim", "T=24") == 0
    said = capsys.readouterr().out
    assert "T=12" in said
    assert "T=48" not in said


@pytest.mark.parametrize(
    ("option", "code", "message"),
    [
        (["--dim", "Q=3"], 1, "no open axis of the model's inputs is called 'Q'"),
        (["--dim", "T"], 2, "is not a name and a size of at least 1, as in T=24"),
        (["--dim", "T=0"], 2, "is not a name and a size of at least 1, as in T=24"),
        (["--dim", "T=3", "--dim", "T=4"], 2, "'T' is given twice"),
        (["--shape", "x=2,,6"], 2, "is not an input and its shape, as in x=2,24,16"),
        (["--shape", "x=2,24,7"], 1, "doesn't fit input 'x'"),
    ],
)
def test_refusals(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str], code: int, message: str
) -> None:
    assert run("rewrite", model, "-o", tmp_path / "half.onnx", "--scale", 0.5, *option) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "half.onnx").exists()


TRACED = BODY.replace("Concat<axis=0>(s, four, four)", "Identity(to)").replace("Concat<axis=0>(s, minus)", "Neg(back)")
ALONE = {
    "a traced length": ("float[N,T,6] x", TRACED, {"to": np.array([0, 23, 4, 4]), "back": np.array([0, -23, 1])}),
    "a short table": ("float[N,T,6] x", "h = MatMul(x, w1)\nu = Add(h, pos)\ny = MatMul(u, w2)", {}),
    "no shape": ("float[N,3,H,W] x", "h = Conv(x, k1)\nr = Relu(h)\ny = Conv(r, k2)", {}),
    "no shape, turned": (
        "float[N,H,W,3] x", "t = Transpose<perm=[0, 3, 1, 2]>(x)\nh = Conv(t, k1)\ny = Conv(h, k2)", {}
    ),
    "no shape, a matrix": ("float[N,6] x", "h = Gemm(x, w1)\nr = Relu(h)\ny = Gemm(r, w2)", {}),
}  # fmt: skip
KERNELS = {"k1": (8, 3, 1, 1), "k2": (5, 8, 1, 1), "four": np.array([4])}


@pytest.mark.parametrize("kind", ALONE)
def test_sizes_that_nobody_gives_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    inputs, body, more = ALONE[kind]
    used = {name: weight for name, weight in {**WEIGHTS, **KERNELS, **more}.items() if name in body}
    model = build(inputs, "float y", body, used)
    if "no shape" in kind:
        model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "model.onnx")
    half, trace = tmp_path / "half.onnx", tmp_path / "trace.json"
    assert run("rewrite", tmp_path / "model.onnx", "-o", half, "--scale", 0.5, "--trace", trace) == 0
    assert "verified: computes what the original does" in capsys.readouterr().out
    assert run("verify", tmp_path / "model.onnx", half, "--trace", trace) == 0


def test_a_rank_that_nothing_tells_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A matrix product takes any number of axes."""
    model = build("float[N,T,6] x", "float y", "h = MatMul(x, w1)\ny = MatMul(h, w2)", {"w1": (6, 16), "w2": (16, 5)})
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "model.onnx")
    asked = ["rewrite", tmp_path / "model.onnx", "-o", tmp_path / "half.onnx", "--scale", 0.5]
    assert run(*asked) == 1
    assert "no channel groups: the shape of 'x' is not known" in capsys.readouterr().err
    assert run(*asked, "--shape", "x=2,9,6") == 0


IMAGE = "a = Conv<pads=[1, 1, 1, 1]>(x, w1)\n g = GlobalAveragePool(a)\n f = Flatten(g)\n y = Gemm(f, w2)"


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_train_brings_images_to_the_sizes_given(tmp_path: Path, capsys: pytest.CaptureFixture[str], last: bool) -> None:
    pytest.importorskip("torch")
    body = f"t = Transpose<perm=[0, 3, 1, 2]>(x)\n{IMAGE.replace('(x', '(t')}" if last else IMAGE
    inputs = "float[N,H,W,1] x" if last else "float[N,1,H,W] x"
    onnx.save(build(inputs, "float[N,10] y", body, {"w1": (8, 1, 3, 3), "w2": (8, 10)}), tmp_path / "image.onnx")
    out = tmp_path / "out.onnx"
    asked = ["--data", "digits", "--epochs", 1, "--limit-train", 64, "--limit-test", 64, "-o", out]
    assert run("train", tmp_path / "image.onnx", *asked, "--dim", "H=12", "--dim", "W=10") == 0
    assert "1x8x8 brought to 1x12x10" in " ".join(capsys.readouterr().out.split())
    shape = onnx.load(out).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in shape] == (["N", "H", "W", 1] if last else ["N", 1, "H", "W"])


@pytest.mark.parametrize("command", ["train", "search"])
def test_an_input_without_a_shape_trains_at_the_one_given(tmp_path: Path, command: str) -> None:
    pytest.importorskip("torch")
    model = build("float[N,1,H,W] x", "float[N,10] y", IMAGE, {"w1": (8, 1, 3, 3), "w2": (8, 10)})
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "image.onnx")
    own = ["-o", tmp_path / "out.onnx"]
    if command == "search":
        own = ["--algo", "random", "--trials", 1, "--out", tmp_path / "run"]
    asked = ["--data", "digits", "--epochs", 1, "--limit-train", 100, "--limit-test", 64, "--quiet", *own]
    assert run(command, tmp_path / "image.onnx", *asked) == 1
    assert run(command, tmp_path / "image.onnx", *asked, "--shape", "x=2,1,8,8") == 0
    if command == "search":
        assert 'INPUTS = {"x": [None, 1, 8, 8]}' in (tmp_path / "run" / "check.py").read_text()
    made = tmp_path / ("out.onnx" if command == "train" else "run/best.onnx")
    assert not onnx.load(made).graph.input[0].type.tensor_type.HasField("shape")


def test_search_counts_at_the_sizes_given_and_writes_open_axes(tmp_path: Path) -> None:
    """A budget of MACs means little at one pixel; the input's height and width stay open in what is found."""
    pytest.importorskip("torch")
    image, out = tmp_path / "image.onnx", tmp_path / "run"
    onnx.save(build("float[N,1,H,W] x", "float[N,10] y", IMAGE, {"w1": (8, 1, 3, 3), "w2": (8, 10)}), image)
    asked = ["--algo", "random", "--trials", 1, "--epochs", 1, "--limit-train", 100, "--out", out, "--quiet"]
    assert run("search", image, *asked, "--dim", "H=8", "--dim", "W=8") == 0
    settings = json.loads((out / "config.json").read_text())["settings"]
    assert settings["sizes"] == {"H": 8, "W": 8}
    assert settings["graph"]["macs"] == 8 * 8 * 9 * 8 + 8 * 10
    for name in ("best.onnx", "input.onnx"):
        shape = onnx.load(out / name).graph.input[0].type.tensor_type.shape.dim
        assert [dim.dim_param or dim.dim_value for dim in shape] == ["N", 1, "H", "W"]
