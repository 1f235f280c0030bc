"""What a running search shows: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from chanc.terminal import printable


def amount(number: float) -> str:
    """A count in three significant digits: 1.23M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """h:mm:ss, or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class TimeUp(KeyboardInterrupt):
    """The time that a search was given is over; like Ctrl-C, it is nobody's error."""


@dataclass
class Progress:
    """Follows trials and epochs. `quiet` shows nothing at all.

    deadline: when to stop, in seconds of `time.monotonic`; None for never.
    """

    trials: int
    epochs: int
    console: Console = field(default_factory=Console)
    quiet: bool = False
    deadline: float | None = None
    rows: list[dict[str, str]] = field(default_factory=list)
    _live: Live | None = None
    _said: set[str] = field(default_factory=set)
    _began: float = 0.0
    _done: int = 0
    _steps: int = 0
    _epoch: int = 0
    _length: int = 0

    @contextmanager
    def shown(self, done: int = 0) -> Iterator[Progress]:
        """Show the display while the block runs; `done` trials are behind us already."""
        self._began, self._done, self._steps = time.monotonic(), done, 0
        if self.quiet or not self.console.is_terminal:
            yield self
            return
        with Live(console=self.console, get_renderable=self._table, refresh_per_second=4) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    def in_time(self) -> None:
        """Raise TimeUp once the deadline has passed; called where nothing that was done is lost."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise TimeUp

    def trial(self, trial: int, params: int, macs: int, label: str = "", epochs: int | None = None) -> None:
        """A trial begins; `label` takes the place of its number, `epochs` that of the usual ones."""
        name, self._epoch, self._length = label or f"{trial + 1}/{self.trials}", 0, epochs or self.epochs
        self.rows.append({"trial": name, "params": amount(params), "MACs": amount(macs)})

    def epoch(self, epoch: int, loss: float, top1: float) -> None:
        """An epoch of the trial has ended; `top1` from 0 to 1, NaN where it wasn't judged."""
        self._steps += 1
        row = self.rows[-1]
        judged = "-" if math.isnan(top1) else f"{top1:.2%}"
        row |= {"epoch": f"{epoch + 1}/{self._length}", "loss": f"{loss:.4f}", "top-1": judged}
        row["ETA"] = self._eta()
        if self._live is None:
            self.say("  ".join(f"{name} {value}" for name, value in row.items()))

    def step(self, epoch: int, share: float) -> None:
        """A part of an epoch is done; only the live table shows it. Raises TimeUp after the first one of an epoch."""
        if epoch != self._epoch:
            self._epoch = epoch
            self.in_time()
        self.rows[-1]["epoch"] = f"{epoch + 1}/{self._length} {share:4.0%}"

    def say(self, line: str) -> None:
        """One line of text, above the table where there is one."""
        if not self.quiet:
            self.console.print(printable(line), highlight=False, markup=False, soft_wrap=True)

    def say_once(self, line: str) -> None:
        """A line that is not worth saying twice."""
        if line not in self._said:
            self._said.add(line)
            self.say(line)

    def _eta(self) -> str:
        left = max((self.trials - self._done) * self.epochs - self._steps, 0)
        return duration((time.monotonic() - self._began) / self._steps * left)

    def _table(self) -> Table:
        table = Table(*("trial", "epoch", "loss", "top-1", "params", "MACs", "ETA"), header_style="bold")
        for row in self.rows[-12:]:
            table.add_row(*(row.get(str(column.header), "") for column in table.columns))
        return table
