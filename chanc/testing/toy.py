"""A whole search on a fake engine, from its folder alone: for tests of what is on the disk."""

from __future__ import annotations

from pathlib import Path

from chanc import runs
from chanc.runs import RunDir
from chanc.study.compare import Finals
from chanc.study.driver import Task, run_method
from chanc.study.methods.trial.greedy import Greedy
from chanc.study.outcome import Run, finish
from chanc.study.progress import Progress
from chanc.testing.engines import MEMBERS, SIZES, SPACE, FakeEngine, toy

CLOCKS = ("timing.jsonl",)
"""Files whose content is another one each time."""


def search(place: Path, trials: int = 3) -> Run:
    """Begin a search of three trials and three final trainings in a folder, or go on with the one that is there."""
    engine, sampler = FakeEngine(), Greedy(trials=trials)
    task = Task(sampler.name, sampler, SPACE, engine, MEMBERS, 0, Progress(trials, 2, quiet=True), carry_optimizer=True)
    run = _begun(place, engine)
    with run.owned():
        run_method(task, run)
        return finish(task, engine, run, Finals({}, 1, 3, ("baseline",)))


def _begun(place: Path, engine: FakeEngine) -> RunDir:
    if (place / "config.json").exists():
        return runs.resume(place, {})
    return runs.create(place, {}, {}, {"input.onnx": lambda path: engine.save(toy(SIZES), path)})
