"""The benchmarks' bad arguments are one clear line, before any work."""

from __future__ import annotations

import runpy
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
BAD = {
    "batchnorm --seeds 1": "argument --seeds: 1 is less than 2",
    "batchnorm --epochs 0": "argument --epochs: 0 is less than 1",
    "batchnorm --out no/where.md": "argument --out: there is no folder no",
    "big_model --folder no/where": "argument --folder: there is no folder no/where",
    "big_model --gb 0": "argument --gb: 0 is less than 0.03515625",
    "evbmf --repeats 0": "argument --repeats: 0 is less than 1",
    "evbmf --repeats many": "argument --repeats: invalid number value: 'many'",
    "gpu --parts nothing": "argument --parts: invalid choice: 'nothing'",
    "overhead run --batch 1": "argument --batch: 1 is less than 2",
    "runs .": "argument RUN: . is not a run directory",
    "scaling --nodes 3": "argument --nodes: 3 is less than 10",
    "startup . --repeats 0": "argument --repeats: 0 is less than 1",
    "training --rounds 0": "argument --rounds: 0 is less than 1",
    "verification no/models": "argument models: there is no folder no/models",
}


def said(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of what a benchmark says on its way out."""
    script, *arguments = command.split()
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(FOLDER / f"{script}.py"), run_name="__main__")
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("command", BAD)
def test_a_bad_argument(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if command.startswith(("batchnorm", "gpu", "overhead", "training")):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    assert BAD[command] in said(command, monkeypatch, capsys)


def test_a_package_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "arguments", raising=False)

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    told = said("pruning .", monkeypatch, capsys)
    assert told.endswith("error: torch-pruning is not installed: pip install torch-pruning")
