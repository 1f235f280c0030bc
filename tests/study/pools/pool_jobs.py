"""What the pools run in tests, in an importable module: functions of a test file can't be found by a worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

VICTIM = "greedy-gamma0.0-seed0"


def write(path: str) -> None:
    Path(path).write_text(" ".join([os.environ.get("OMP_NUM_THREADS", ""), os.getcwd()]))


def fail(path: str) -> None:
    raise SystemExit(3)


def told(path: str) -> None:
    raise SystemExit(1) from ValueError("no\n luck")


def raises(path: str) -> None:
    raise KeyError(path)


def die(path: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.02)


def wait(path: str) -> None:
    """Leave the process's number, all at once, and be at work for longer than anybody waits."""
    Path(f"{path}.part").write_text(str(os.getpid()))
    Path(f"{path}.part").rename(path)
    for _ in range(15_000):
        time.sleep(0.02)


def real(model: str, cell: Any, path: Path, common: Mapping[str, Any]) -> None:
    """A cell of a sweep. The first process that runs `VICTIM` is killed after its first trial, untold of it."""
    from chanc.api import search

    _cell(model, cell, path, common, search)


def fake(model: str, cell: Any, path: Path, common: Mapping[str, Any]) -> None:
    """The same with a search that trains nothing."""
    _cell(model, cell, path, common, _search)


def _cell(model: str, cell: Any, path: Path, common: Mapping[str, Any], search: Callable[..., Any]) -> None:
    from chanc.study import driver
    from chanc.study.sweep import run_cell

    if cell.name == VICTIM and not path.exists():
        driver._measurement = lambda task, run, event: os.kill(os.getpid(), signal.SIGKILL)
    run_cell(model, cell, path, common, search)


def _search(model: str, *, algo: str, options: Any, seed: int, out: Path, resume: bool, trials: int, **_: Any) -> Any:
    from chanc import runs
    from chanc.study.driver import Task, run_method
    from chanc.study.methods.registry import make
    from chanc.study.outcome import Run
    from chanc.study.progress import Progress
    from chanc.testing.engines import MEMBERS, SIZES, SPACE, FakeEngine, toy

    engine = FakeEngine()
    files = {runs.INPUT: lambda path: engine.save(toy(SIZES), path)}
    run = runs.resume(out, {}) if resume else runs.create(out, {}, {}, files)
    method = make(algo, trials=trials, seed=seed, **options)
    task = Task(algo, method, SPACE, engine, MEMBERS, seed, Progress(trials, 2, quiet=True))
    with run.locked():
        run_method(task, run)
    return Run(out, run.record.outcomes, SIZES, None, ())
