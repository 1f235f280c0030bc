"""Trials side by side: each in a process of its own, wherever a pool puts it.

The process leaves the trial's outcome in its folder; the search, which alone writes to the log, reads it there. So the
log is the same as that of a search which trains the same trials one after the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from chanc.clock import Clock
from chanc.errors import RunError
from chanc.files import plain
from chanc.runs import ErrorEvent, RunDir, StateEvent, Timing, Trial, TrialEvent, clear_errors
from chanc.runs.decode import decode
from chanc.runs.seal import read_sealed, write_sealed
from chanc.study.driver import Outcome, Task, outcome
from chanc.study.pools import Job, Pool

ATTEMPTS = 2
"""How often a trial is started whose process is lost."""


@dataclass(frozen=True)
class Workers:
    """A crew of processes in a pool. train: called there with the run directory and the trial's id."""

    pool: Pool
    train: Callable[[Path, int], None]

    def __call__(self, run: RunDir, trials: Sequence[Trial]) -> Iterator[tuple[Outcome, Timing]]:
        """Train what has left no outcome yet. Raises RunError where a process is lost again and again."""
        problems: dict[str, str] = {}
        for _ in range(ATTEMPTS):
            left = [trial for trial in trials if _left(run, trial) is None]
            jobs = [Job(f"trial {one.id + 1}", self.train, (run.path.absolute(), one.id)) for one in left]
            if jobs:
                self.pool.run(jobs, lambda job, problem: problems.update({job.name: problem}))
        for trial in trials:
            found = _left(run, trial)
            if found is None:
                raise RunError(f"trial {trial.id + 1} left no outcome: {problems[f'trial {trial.id + 1}']}")
            yield found
            _path(run, trial.id).unlink()


def leave_outcome(task: Task, run: RunDir, trial: int) -> None:
    """Train a trial that the log asks for, and leave its outcome in its folder."""
    asked = next(one for state in run.record.of(StateEvent) for one in state.asked if one.id == trial)
    clock = Clock()
    found = outcome(task, run, asked, clock)
    os.makedirs(_path(run, trial).parent, exist_ok=True)
    with clear_errors(run.path):
        write_sealed(_path(run, trial), {"kind": found.kind, "event": plain(found), "seconds": plain(clock.seconds)})


def _path(run: RunDir, trial: int) -> Path:
    return run.model_path(trial).with_name("outcome.json")


def _left(run: RunDir, trial: Trial) -> tuple[Outcome, Timing] | None:
    """The outcome in a trial's folder, if it is one of this very trial. Raises RunError where it is damaged."""
    found = read_sealed(_path(run, trial.id))
    if found is None:
        return None
    kind: type[Outcome] = ErrorEvent if found["kind"] == ErrorEvent.kind else TrialEvent
    event = decode(kind, found["event"])
    seconds = cast("dict[str, float]", found["seconds"])
    return (event, Timing(str(event.id), seconds)) if event.decision == trial.decision else None
