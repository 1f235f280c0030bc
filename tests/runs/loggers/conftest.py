"""A run whose log grows by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chanc.runs import Decision, Epoch, ErrorEvent, FinalEvent, RunDir, StateEvent, TrialEvent, create


def trial(number: int, score: float) -> TrialEvent:
    epochs = (Epoch(0, 2.0, float("nan"), 0.1), Epoch(1, 1.0, score, 0.05))
    return TrialEvent(number, Decision({"conv 1[a]": 8 + number}), 100, 200, score, 1.0, epochs)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run of one trial, and a state, of which a tracker gets nothing."""
    made = create(tmp_path / "run", {"algo": "greedy", "train": {"lr": 0.1}}, {})
    made.append(StateEvent({}))
    made.append(trial(0, 0.5))
    return made


@pytest.fixture
def go_on(run: RunDir) -> Callable[[], None]:
    """go_on(): a second trial, one that failed, and a final training."""

    def append() -> None:
        run.append(trial(1, 0.75))
        run.append(ErrorEvent(2, Decision({"conv 1[a]": 4}), "diverged"))
        run.append(FinalEvent("found-1", Decision({"conv 1[a]": 9}), {}, 0, 100, 200, 0.875, 0.5))

    return append
