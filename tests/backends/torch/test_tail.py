"""The end of a graph that PyTorch can't express stays in ONNX: the module ends before it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

import chanc  # noqa: E402
from chanc.analysis.infer_shapes import infer_shapes  # noqa: E402
from chanc.backends import ort  # noqa: E402
from chanc.backends.torch import build as module_of  # noqa: E402
from chanc.backends.torch.tail import Tail, cut_tail  # noqa: E402
from chanc.errors import ModelError  # noqa: E402
from chanc.ir import load  # noqa: E402
from chanc.ir.normalize import normalize  # noqa: E402
from chanc.testing.builders import build  # noqa: E402

X, WEIGHTS = "float[N,3,8,8] x", {"w": (6, 3, 3, 3), "v": (5, 6)}
NETWORK = "c = Conv (x, w) r = Relu (c) g = GlobalAveragePool (r) f = Flatten (g) s = Gemm <transB = 1> (f, v) "
THEIRS = ("theirs",)


def cut(body: str, outputs: str = "float y", inputs: str = X, **weights: object) -> tuple[onnx.ModelProto, Tail | None]:
    model = load(build(inputs, outputs, NETWORK + body, WEIGHTS | weights, domains=THEIRS))
    normalize(model)
    infer_shapes(model)
    tail = cut_tail(model)
    assert tail is None or [value.name for value in model.graph.outputs] == list(tail.ends)
    return onnx.load_from_string(chanc.ir.to_proto(model).SerializeToString()), tail


ENDS = {
    "an operator of somebody's own": ("y = theirs.Decode (s)", ("s",), 1),
    "several results": ("y = theirs.Decode (r, s)", ("r", "s"), 1),
    "what it reads is integers": ("p = Softmax (s) a = ArgMax (p) y = theirs.Name (a)", ("p",), 2),
    "a result is an output too": ("p = Softmax (s) y = theirs.Decode (p)", ("p",), 1),
    "another way goes on": ("t = theirs.Draw (r) y = Softmax (s)", ("r", "y"), 1),
    "sizes and pictures are no results": ("h = Shape (x) y = theirs.Paint (x, h, s)", ("s",), 2),
    "a table": ("y = theirs.Decode (s, anchors)", ("s",), 1),
    "anchors": ("b = theirs.Decode (s) d = Mul (b, anchors) y = Add (d, anchors)", ("s",), 3),
    "what is kept and what isn't": (
        "d = Mul (s, anchors) p = theirs.Decode (d) q = Sigmoid (d) y = Concat <axis = 1> (p, q)", ("d", "q"), 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_the_module_ends_before(name: str) -> None:
    body, ends, nodes = ENDS[name]
    outputs = {"a result is an output too": "float y, float p", "another way goes on": "float t, float y"}
    proto, tail = cut(body, outputs.get(name, "float y"), anchors=(1, 5))
    assert tail is not None
    assert (set(tail.ends), tail.nodes) == (set(ends), nodes)
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        found = module_of(proto).module(torch.from_numpy(x))
    found = [found] if isinstance(found, torch.Tensor) else found
    for ours, theirs in zip(found, ort.run(proto, {"x": x}), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-5)


def test_the_order_is_that_of_the_outputs() -> None:
    assert cut("y = theirs.A (s) z = Softmax (s) u = theirs.B (r)", "float z, float u, float y")[1].ends == (
        "z", "r", "s",
    )  # fmt: skip


def test_nothing_is_cut_where_all_is_known() -> None:
    proto, tail = cut("y = Softmax (s)")
    assert tail is None
    assert len(proto.graph.node) == 6


def test_a_line_says_what_stays() -> None:
    tail = cut("p = Softmax (s) a = ArgMax (p) y = theirs.Name (a)")[1]
    assert str(tail) == (
        "theirs::Name node 'y' can't be written in PyTorch: this operator has no PyTorch form; the module ends before "
        "it and returns 'p', 2 nodes stay in ONNX"
    )


MIDDLE = {
    "a layer behind it": ("t = theirs.Mix (s) y = MatMul (t, u)", 35),
    "layers behind it": ("t = theirs.Mix (s) a = MatMul (t, u) b = Relu (a) c2 = MatMul (b, k) y = Add (c2, c2)", 49),
    "in a branch behind it": (
        "t = theirs.Ask (s) y = If (t) <then_branch = a () => (float[N,7] p) { p = MatMul (s, u) }, "
        "else_branch = b () => (float[N,7] q) { q = MatMul (s, u) }>", 35,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MIDDLE)
def test_weights_behind_it_are_counted(name: str) -> None:
    body, count = MIDDLE[name]
    with pytest.raises(ModelError, match=rf"theirs::\w+ node 't' can't be .*\({count} weights are in it or behind it"):
        cut(body, u=(5, 7), k=(7, 2))


def test_a_middle_is_named_where_an_end_is_unknown_too() -> None:
    with pytest.raises(ModelError, match=r"theirs::Mix node 't' .*\(35 weights"):
        cut("z = theirs.Draw (r) t = theirs.Mix (s) y = MatMul (t, u)", "float y, float z", u=(5, 7))


def test_nothing_before_it_is_refused() -> None:
    model = load(build("float[N,3] x", "float y", "y = theirs.All (x)", {}, domains=THEIRS))
    infer_shapes(model)
    with pytest.raises(ModelError, match=r"theirs::All node 'y' can't be written in PyTorch: this operator has no"):
        cut_tail(model)


def detector(path: Path, *, theirs: bool) -> Path:
    """Boxes and scores of two heads, and what chooses among them by an input of its own."""
    body = NETWORK + "b = Reshape (c, to) k = Sigmoid (b) n = Shape (k) "
    body += "z = theirs.Pick (k, n, size)" if theirs else "u = Unique (k) z = Expand (u, one)"
    weights = WEIGHTS | {"to": np.array([0, 6, 36]), "one": np.array([1])}
    inputs = f"{X}, int64[N,2] size"
    onnx.save(build(inputs, "float[A] z, float s", body, weights, domains=THEIRS if theirs else ()), path)
    return path


@pytest.mark.parametrize("theirs", [False, pytest.param(True, marks=pytest.mark.nightly)])
@pytest.mark.nightly
def test_check_compares_what_the_module_returns(check_source, theirs: bool, tmp_path: Path) -> None:
    source = chanc.codegen(detector(tmp_path / "model.onnx", theirs=theirs), tmp_path / "out")
    assert source.tail is not None
    assert source.tail.ends == ("k", "s")
    assert "It ends before the ONNX graph does, and returns k, s." in source.text
    code, said = check_source(tmp_path / "out")
    assert (code, said.splitlines()[0]) == (0, "model.py ends before the ONNX model does: 'k', 's' are compared")
    other = onnx.load(tmp_path / "model.onnx")
    other.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones((6, 3, 3, 3), np.float32), "w"))
    onnx.save(other, tmp_path / "other.onnx", save_as_external_data=True, size_threshold=100)
    assert check_source(tmp_path / "out", tmp_path / "other.onnx")[0] == 1
    same = onnx.load(tmp_path / "model.onnx")
    onnx.save(same, tmp_path / "apart.onnx", save_as_external_data=True, size_threshold=100)
    assert check_source(tmp_path / "out", tmp_path / "apart.onnx")[0] == 0


def test_check_says_what_a_model_lacks(check_source, tmp_path: Path) -> None:
    chanc.codegen(detector(tmp_path / "model.onnx", theirs=False), tmp_path / "out")
    onnx.save(build(X, "float y", NETWORK + "y = Identity (s)", WEIGHTS), tmp_path / "other.onnx")
    assert check_source(tmp_path / "out", tmp_path / "other.onnx") == (1, "the model doesn't compute 'k'")


def test_the_source_is_clean(tmp_path: Path) -> None:
    chanc.codegen(detector(tmp_path / "model.onnx", theirs=True), tmp_path / "out")
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check", "--isolated", "--select", "E,F,W,I,UP,B"], ["format", "--isolated", "--check"]):
        ran = subprocess.run([ruff, *command, "--line-length", "120", tmp_path / "out"], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout


@pytest.mark.nightly
def test_names_of_a_hostile_graph_stay_names(check_source, tmp_path: Path) -> None:
    name = "\"\"\"\nimport os\nopen('owned', 'w')"
    model = build(X, "float y", NETWORK + "y = theirs.Decode (s)", WEIGHTS, domains=THEIRS)
    for node in model.graph.node:
        node.input[:] = [name if value == "s" else value for value in node.input]
        node.output[:] = [name if value == "s" else value for value in node.output]
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "model.onnx")
    chanc.codegen(tmp_path / "model.onnx", tmp_path / "out")
    assert check_source(tmp_path / "out")[0] == 0
    assert not (tmp_path / "out" / "owned").exists()
    assert "import os" not in (tmp_path / "out" / "model.py").read_text().splitlines()


