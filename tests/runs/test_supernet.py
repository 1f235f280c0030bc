from __future__ import annotations

from typing import Any

import pytest

from chanc.errors import RunError
from chanc.runs import EpochEvent, RunDir, Timing, create, read_run
from chanc.runs.supernet import Mask, epoch_timings, supernet_epochs

METRICS = {"width": {"a": 20.0, "b": 8.0}, "low": {"a": 16.0, "b": 8.0}, "high": {"a": 32.0, "b": 8.0}}


@pytest.fixture
def run(tmp_path) -> RunDir:
    return create(tmp_path / "run", {"algo": "flexcharts"}, {})


def read(run: RunDir, metrics: Any = METRICS, state: Any = None):
    run.append(EpochEvent(0, 1.5, 0.5, metrics, state or {}))
    return supernet_epochs(read_run(run.path))


def test_an_epoch_is_read_back(run) -> None:
    figures = {**METRICS, "cost": {"macs": 3e6}, "lambda": {"macs": 0.02}, "losses": {"masks": 1.25}}
    (epoch,) = read(run, figures, {"alpha": {"a": {"options": [16, 32], "weights": [0.75, 0.25]}}})
    assert (epoch.epoch, epoch.score, epoch.widths) == (0, 0.5, METRICS["width"])
    assert (epoch.costs, epoch.prices, epoch.losses) == ({"macs": 3e6}, {"macs": 0.02}, {"masks": 1.25})
    assert (epoch.targets, epoch.largest) == ({}, {})
    assert epoch.masks == {"a": Mask((16, 32), (0.75, 0.25))}
    assert [epoch.place(unit) for unit in "ab"] == [0.25, None]


def test_epochs_of_other_methods_are_none(run) -> None:
    assert read(run, {"layer1": {"rank": 0.5}}) == ()


@pytest.mark.parametrize(
    ("metrics", "state", "says"),
    [
        ({"width": {"a": 1.0}}, None, "low"),
        ({**METRICS, "low": {"a": 16.0}}, None, "other units"),
        (METRICS, {"alpha": {"a": {"options": [16]}}}, "lacks 'weights'"),
    ],
)
def test_what_is_no_such_epoch_is_refused(run, metrics: Any, state: Any, says: str) -> None:
    with pytest.raises(RunError, match=f"an epoch's event can't be read: .*{says}"):
        read(run, metrics, state)


def test_an_epoch_that_was_trained_twice_counts_once() -> None:
    lines = [Timing("start", {"load": 1.0}), Timing("epoch 0", {"train": 1.0}), Timing("epoch 1", {"train": 2.0}),
             Timing("epoch 1", {"train": 3.0}), Timing("final found-0", {"train": 9.0})]  # fmt: skip
    assert [line.seconds["train"] for line in epoch_timings(lines)] == [1.0, 3.0]
