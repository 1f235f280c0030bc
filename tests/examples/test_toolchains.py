"""Every example of a toolchain, as a user would run it, where its package is installed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "toolchains"
TOLERANCE = 1e-4
"""Of the largest answer: float32 in another order."""


def run(name: str, *packages: str, folder: Path | None = None) -> list[str]:
    """What an example prints; skipped where one of its packages isn't there."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *([str(folder)] if folder else [])],
        capture_output=True, text=True, timeout=600, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def differences(lines: list[str]) -> list[float]:
    return [float(found[1]) for line in lines if (found := re.search(r"largest difference (\S+)$", line))]


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "packages", "widths"), [
    ("onnxscript_rules", ["onnxscript"], "[7, 11, 7, 14]"),
    ("graphsurgeon_pipeline", ["onnx_graphsurgeon"], "[8, 12, 8, 16]"),
    ("run_olive", ["olive"], "[8, 12, 8, 16]"),
])  # fmt: skip
def test_passes_among_others(name: str, packages: list[str], widths: str) -> None:
    *_, line = run(name, *packages)
    assert f"widths {widths}" in line
    assert "BatchNormalization" not in line or "0 BatchNormalizations" in line
    assert [far < TOLERANCE for far in differences([line])] == [True]


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "packages"), [
    ("run_openvino", ["openvino"]),
    ("run_tvm", ["tvm"]),
    ("run_ncnn", ["ncnn", "pnnx"]),
    ("run_mnn", ["MNN"]),
])  # fmt: skip
def test_rewritten_networks_elsewhere(name: str, packages: list[str]) -> None:
    lines = run(name, *packages)
    assert [far < TOLERANCE for far in differences(lines)] == [True, True]


@pytest.mark.nightly
def test_polygraphy_finds_them_equal() -> None:
    *_, line = run("polygraphy_loader", "polygraphy")
    assert line == "Polygraphy: widths [8, 12, 8, 16], the same within 1e-5 + 1e-4 |y|: True"


@pytest.mark.nightly
def test_quantised_before_and_after() -> None:
    after, before = run("quantize")
    half, whole = (float(share) / 100 for share in re.findall(r"([\d.]+)%", after))
    assert half < max(2 * whole, 0.1)
    assert re.search(r"quantise, then rewrite: 3 of \d+ groups changed; ", before)
    assert "agrees" in before or "computes" in before


@pytest.mark.nightly
def test_optuna_drives() -> None:
    *trials, best = run("optuna_widths", "optuna", "sklearn")
    assert len(trials) >= 1
    assert float(best.rsplit(" ", 1)[1]) > 0.2  # guessing has 0.1


@pytest.mark.nightly
def test_trackers_follow(tmp_path: Path) -> None:
    head, *names = run("trackers", "torch", "sklearn", folder=tmp_path)
    assert head.startswith("3 trials in ")
    for line in names:
        name = line.partition(":")[0]
        assert (tmp_path / "run" / name).is_dir() or (tmp_path / "run" / f"{name}.json").exists()


def test_every_example_is_run() -> None:
    tested = Path(__file__).read_text()
    there = {path.stem for path in EXAMPLES.glob("*.py")} - {"network"}
    assert {name for name in there if f'"{name}"' not in tested} == set()
