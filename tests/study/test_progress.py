from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from chanc.study.progress import Progress, amount, duration


@pytest.mark.parametrize(
    ("number", "text"), [(12, "12"), (1234, "1.23k"), (76_250, "76.2k"), (21_282_122, "21.3M"), (5.37e9, "5.37G")]
)
def test_amount(number: float, text: str) -> None:
    assert amount(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (65.4, "1:05"), (3725, "1:02:05")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_off_a_terminal() -> None:
    out = io.StringIO()
    progress = Progress(3, 2, Console(file=out, width=40))
    with progress.shown(done=1):
        progress.trial(1, 76_250, 21_888_416)
        progress.epoch(0, 1.5, 0.25)
        progress.say("a [bold] line that is longer than the console is wide")
        progress.epoch(1, 1.25, 0.5)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("trial 2/3  params 76.2k  MACs 21.9M  epoch 1/2  loss 1.5000  top-1 25.00%  ETA 0:0")
    assert lines[1] == "a [bold] line that is longer than the console is wide"
    assert lines[2].startswith("trial 2/3")
    assert "\x1b" not in out.getvalue()


def test_live_table_on_a_terminal() -> None:
    out = io.StringIO()
    progress = Progress(3, 2, Console(file=out, width=100, force_terminal=True))
    with progress.shown():
        progress.trial(0, 76_250, 21_888_416)
        progress.step(0, 0.25)
        end = time.monotonic() + 60
        while "1/2  25%" not in out.getvalue() and time.monotonic() < end:
            time.sleep(0.02)
        progress.epoch(0, 1.5, 0.25)
    assert "ETA" in out.getvalue()
    assert "1/2  25%" in out.getvalue()
    assert "25.00%" in out.getvalue()


def test_quiet_is_quiet() -> None:
    out = io.StringIO()
    progress = Progress(1, 1, Console(file=out), quiet=True)
    with progress.shown():
        progress.trial(0, 1, 1)
        progress.epoch(0, 1.0, 0.5)
        progress.say("no")
    assert out.getvalue() == ""
