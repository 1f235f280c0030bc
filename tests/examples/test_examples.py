"""Every numbered example, as a user would run it."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chanc.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"


Run = Callable[..., list[str]]


def alone(name: str, *arguments: str) -> list[str]:
    """What an example prints, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True, text=True, timeout=240, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(params=["here", pytest.param("alone", marks=pytest.mark.nightly)])
def run(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run an example, and return the lines that it prints: by day here, where everything is imported already."""

    def here(name: str, *arguments: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        capsys.readouterr()
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return here if request.param == "here" else alone


def test_shrink_and_grow(run: Run):
    *groups, half, wide = run("01_shrink_and_grow.py")
    assert sum("convolution axes" in line for line in groups) == 12
    for line in (half, wide):
        assert float(line.rsplit(" ", 1)[1]) < 1e-4


def test_in_a_pipeline(run: Run):
    assert run("02_in_a_pipeline.py") == ["onnx_ir: [8, 12, 8]", "graphsurgeon: [8, 12, 8]"]


def test_search(run: Run, tmp_path):
    *trials, best = run("04_search.py", str(tmp_path))
    assert [line.split(":")[0] for line in trials] == ["trial 0", "trial 1", "trial 2"]
    assert float(trials[-1].rsplit(" ", 1)[1]) > 0.3  # guessing has 0.1
    assert Path(best.rsplit(" ", 1)[1]).exists()
    assert (tmp_path / "run" / "report.html").exists()


def test_the_generated_resnet34_is_what_codegen_writes(tmp_path, zoo_model):
    main(["codegen", str(zoo_model("resnet34")), "-o", str(tmp_path), "--name", "ResNet34"])
    source = (EXAMPLES / "resnet34" / "model.py").read_text()
    assert (tmp_path / "model.py").read_text() == source
    assert source.count("\n") < 150
