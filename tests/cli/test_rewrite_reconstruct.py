"""`chanc rewrite --reconstruct`: refitted on the samples of a file, and nothing written where these don't fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from chanc.cli.rewrite import command
from chanc.testing.graphs import Graph


@pytest.fixture
def model(tmp_path: Path) -> Path:
    graph = Graph()
    x = graph.input("x", [1, 2, 4, 4], dynamic={0: "n"}).conv(8).relu().conv(4)
    onnx.save(graph.model(x), tmp_path / "in.onnx")
    return tmp_path / "in.onnx"


def run(model: Path, *options: str) -> tuple[int, str]:
    out = str(model.with_name("out.onnx"))
    done = CliRunner().invoke(command, [str(model), "-o", out, "--scale", "0.5", *options])
    return done.exit_code, done.output if done.exception is None else str(done.exception)


def test_layers_are_refitted_after_the_check(model: Path) -> None:
    feeds = model.with_name("samples.npz")
    np.savez(feeds, x=np.random.default_rng(0).standard_normal((40, 2, 4, 4)).astype(np.float32))
    code, said = run(model, "--reconstruct", str(feeds))
    assert code == 0
    checked, refitted = said.splitlines()[-2:]
    assert checked.startswith("verified: ")
    assert refitted.startswith("reconstructed: 1 of 1 layers refitted; outputs were off by ")
    before, after = (float(word.strip("%.")) for word in refitted.split() if "%" in word)
    assert after < before


def test_samples_that_do_not_fit(model: Path) -> None:
    feeds = model.with_name("samples.npz")
    np.savez(feeds, z=np.zeros((4, 2, 4, 4), dtype=np.float32))
    code, said = run(model, "--reconstruct", str(feeds))
    assert code == 1
    assert said == f"{feeds} holds ['z']; the model's inputs are ['x']"
    assert not model.with_name("out.onnx").exists()
