"""Every numbered example, as a user would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from chanc.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: str) -> list[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True, text=True, timeout=240, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_shrink_and_grow():
    *groups, half, wide = run("01_shrink_and_grow.py")
    assert sum("convolution axes" in line for line in groups) == 12
    for line in (half, wide):
        assert float(line.rsplit(" ", 1)[1]) < 1e-4


def test_in_a_pipeline():
    assert run("02_in_a_pipeline.py") == ["onnx_ir: [8, 12, 8]", "graphsurgeon: [8, 12, 8]"]


def test_search(tmp_path):
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
