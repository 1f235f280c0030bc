"""TensorBoard reads what was written, each figure once, after a run that went on too."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from chanc.runs import RunDir
from chanc.runs.loggers import following

pytestmark = pytest.mark.nightly  # its reader takes seconds to import


def scalars(run: RunDir) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run.path / "tensorboard"))
    read.Reload()
    return {name: [(one.step, one.value) for one in read.Scalars(name)] for name in read.Tags()["scalars"]}


def test_figures_once_after_going_on(run: RunDir, go_on: Callable[[], None]) -> None:
    with following(["tensorboard"], run.path) as follow:
        follow()
    assert scalars(run)["trial/score"] == [(0, 0.5)]
    go_on()
    with following(["tensorboard"], run.path) as follow:
        follow()
    found = scalars(run)
    assert found["trial/score"] == [(0, 0.5), (1, 0.75)]
    assert found["epoch/loss"] == [(0, 2.0), (1, 1.0), (2, 2.0), (3, 1.0)]
    assert found["final/found/score"] == [(1, 0.875)]
    assert len(list((run.path / "tensorboard").iterdir())) == 1
