"""What a running training shows: a live bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from chanc.study.progress import duration
from chanc.terminal import printable


def shown(name: str, score: float) -> str:
    """A task's score in words: shares of samples as per cent."""
    return f"top-1 {score:.2%}" if name == "top1" else f"{name} {score:.4g}"


class TrainingProgress:
    """Follows the steps and epochs of one training. `quiet` shows nothing at all."""

    def __init__(
        self, epochs: int, score_name: str = "top1", *, quiet: bool = False, console: Console | None = None
    ) -> None:
        self.epochs, self.score_name = epochs, score_name
        self.quiet = quiet
        self.console = console or Console()
        self._bar: Progress | None = None
        self._task: Any = None
        self._begun = 0.0
        self._done = 0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar while the block runs."""
        self._begun, self._done = time.monotonic(), 0
        if self.quiet or not self.console.is_terminal:
            yield
            return
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%")
        with Progress(*columns, TimeRemainingColumn(), console=self.console) as bar:
            self._bar, self._task = bar, bar.add_task(f"epoch 1/{self.epochs}", total=float(self.epochs))
            try:
                yield
            finally:
                self._bar = None

    def step(self, info: Any) -> None:
        """An optimiser step is done; its loss is not read, which would make the CPU wait for the device."""
        if self._bar is not None:
            done = info.epoch + (info.step + 1) / info.steps
            self._bar.update(self._task, completed=done, description=f"epoch {info.epoch + 1}/{self.epochs}")

    def epoch(self, record: Any, module: Any) -> None:
        """An epoch has been trained and measured."""
        self._done += 1
        left = (time.monotonic() - self._begun) / self._done * (self.epochs - record.epoch - 1)
        self.say(
            f"epoch {record.epoch + 1}/{self.epochs}  loss {record.loss:.4f}  {shown(self.score_name, record.score)}  "
            f"lr {record.lr:.3g}  ETA {duration(left)}"
        )

    def say(self, line: str) -> None:
        """One line of text, above the bar where there is one."""
        if not self.quiet:
            self.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
