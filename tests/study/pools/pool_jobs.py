"""What the pools run in tests, in an importable module: functions of a test file can't be found by a worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
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
    """A cell of a sweep. The first process that runs `VICTIM` is killed after its first trial, before its best.json."""
    from chanc.study import driver
    from chanc.study.sweep import run_cell

    if cell.name == VICTIM and not path.exists():
        driver.write_best = lambda task, run: os.kill(os.getpid(), signal.SIGKILL)
    run_cell(model, cell, path, common)


def fake(model: str, cell: Any, path: Path, common: Mapping[str, Any]) -> None:
    """The same with a search that trains nothing."""
    from chanc.study import api

    api.search = _search
    real(model, cell, path, common)


def _search(model: str, *, algo: str, options: Any, seed: int, out: Path, resume: bool, trials: int, **_: Any) -> Any:
    from chanc.study import rundir
    from chanc.study.driver import INPUT, Task, run_trials
    from chanc.study.progress import Progress
    from chanc.study.sampler import make
    from chanc.testing.engines import MEMBERS, SIZES, SPACE, FakeEngine

    run = rundir.resume(out, {}) if resume else rundir.create(out, {}, {})
    engine = FakeEngine()
    engine.save({"widths": SIZES, "weight": 0.0}, out / INPUT)
    task = Task(make(algo, trials=trials, seed=seed, **options), SPACE, engine, MEMBERS, seed,
                Progress(trials, 2, quiet=True))  # fmt: skip
    with run.locked():
        run_trials(task, run)
    return SimpleNamespace(trials=run.trials, widths=SIZES, rows=[])
