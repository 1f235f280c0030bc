"""`chanc rewrite` and `chanc verify` say what was verified, and by which judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")

from chanc.cli import main
from chanc.testing.builders import build
from chanc.testing.graphs import Graph


def chanc(*args: object) -> int:
    """The exit code of a command that runs here."""
    try:
        main([*map(str, args)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def normed(tmp_path: Path) -> Path:
    """A transformer's block: a stream that a LayerNorm sees, a hidden width that is free."""
    graph = Graph(opset=17)
    x = graph.input("x", [1, 5, 6], dynamic={0: "n"}).linear(8)
    inner = graph.op("LayerNormalization", x, graph.vector(8, 0.5, 1.5), graph.vector(8)).linear(12).relu()
    onnx.save(graph.model((x + inner.linear(8)).linear(4)), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """It takes pictures of 77 pixels only, and doesn't say so."""
    weights = {"w1": (8, 3, 1, 1), "w2": (5, 8, 1, 1), "to": np.array([35, 11])}
    body = "a = Conv(x, w1)\nr = Relu(a)\nb = Conv(r, w2)\ny = Reshape(b, to)"
    onnx.save(build("float[n,3,h,w] x", "float y", body, weights), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_doubling_is_named(normed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, trace = normed.with_name("s.onnx"), normed.with_name("t.json")
    assert chanc("rewrite", normed, "-o", small, "--scale", "0.5", "--trace", trace) == 0
    words = "verified: runs in onnxruntime; 1 exact group verified, 1 group verified by doubling (largest difference"
    assert words in capsys.readouterr().out
    assert chanc("verify", normed, small, "--trace", trace) == 0
    assert words in capsys.readouterr().out
    assert chanc("verify", normed, small) == 1
    assert "differs by" in capsys.readouterr().err


def test_made_up_inputs_that_do_not_fit_are_no_refusal(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = odd.with_name("s.onnx")
    assert chanc("rewrite", odd, "-o", small, "--scale", "0.5") == 0
    said = capsys.readouterr().out
    assert "not verified: " in said
    assert "the original fails on made-up inputs, so give it some (--inputs)" in said
    assert chanc("verify", odd, small) == 1
    assert "not verified: computes what the original does: can't tell" in capsys.readouterr().err


def test_another_model_is_not_what_the_trace_tells(normed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, trace = normed.with_name("s.onnx"), normed.with_name("t.json")
    assert chanc("rewrite", normed, "-o", small, "--scale", "0.5", "--trace", trace) == 0
    assert chanc("verify", normed, normed, "--trace", trace) == 1
    assert "the rewritten model is not what the trace tells of" in capsys.readouterr().err


def test_inputs_of_the_users(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, trace, feeds = (odd.with_name(name) for name in ("s.onnx", "t.json", "feeds.npz"))
    np.savez(feeds, x=np.random.default_rng(0).standard_normal((1, 3, 7, 11)).astype(np.float32))
    assert chanc("rewrite", odd, "-o", small, "--scale", "0.5", "--trace", trace, "--inputs", feeds) == 0
    assert "\nverified: computes what the original does" in capsys.readouterr().out
    assert chanc("verify", odd, small, "--trace", trace, "--inputs", feeds) == 0
    said = capsys.readouterr().out
    assert said.startswith("ok      y  [35, 11]  error")
    np.savez(feeds, x=np.zeros((1, 3, 4, 4), np.float32))
    assert chanc("rewrite", odd, "-o", small, "--scale", "0.5", "--inputs", feeds) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.endswith("or rewrite without that check: --no-verify\n")
    assert chanc("verify", odd, small, "--trace", trace, "--inputs", odd) == 1
    assert "is not an .npz file" in capsys.readouterr().err


def test_what_nothing_can_run_names_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = Graph(opset=17)
    x = graph.input("x", [1, 3, 6, 6]).conv(8).relu().conv(5)
    path, small = tmp_path / "m.onnx", tmp_path / "s.onnx"
    onnx.save(graph.model(graph.node("Frobnicate", [x], shapes=[(1, 5, 4, 4)], domain="my.domain")[0]), path)
    assert chanc("rewrite", path, "-o", small, "--scale", "0.5") == 1
    said = capsys.readouterr().err
    assert "onnxruntime" in said
    assert said.endswith("or rewrite without that check: --no-verify\n")
    assert not small.exists()
    assert chanc("rewrite", path, "-o", small, "--scale", "0.5", "--no-verify") == 0
