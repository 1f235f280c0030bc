"""Every second is booked once."""

from __future__ import annotations

import pytest

from chanc.clock import Clock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test moves by hand."""
    time = [100.0]
    monkeypatch.setattr("chanc.clock.time.monotonic", lambda: time[0])
    return time


def test_laps_of_one_name_add_up(now: list[float]) -> None:
    clock = Clock({}, now[0])
    for name, moment in (("train", 102.0), ("save", 102.5), ("train", 105.0)):
        now[0] = moment
        clock.lap(name)
    assert clock.seconds == {"train": 4.5, "save": 0.5}


def test_what_is_known_of_a_lap_keeps_its_own_names(now: list[float]) -> None:
    clock = Clock({}, now[0])
    now[0] = 110.0
    clock.lap("prepare", within={"train": 6.0, "prepare": 1.0})
    assert clock.seconds == {"train": 6.0, "prepare": 4.0}
