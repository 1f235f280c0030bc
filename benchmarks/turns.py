"""Works timed in turn, so that what disturbs the machine disturbs all of them; medians with their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

Work = Callable[[], Callable[[], object]]
"""Makes ready, untimed, what is timed."""


class Times(NamedTuple):
    """Seconds on the clock, and seconds of all cores."""

    wall: float
    cpu: float


@dataclass
class Runs:
    """What was timed of a work, or the error that it ended with."""

    times: list[Times] = field(default_factory=list)
    error: str = ""

    def once(self, work: Work) -> None:
        """Time one more run."""
        try:
            timed = work()
            wall, cpu = time.perf_counter(), time.process_time()
            timed()
            self.times.append(Times(time.perf_counter() - wall, time.process_time() - cpu))
        except Exception as error:
            self.error = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]}"

    def goes_on(self, seconds: float) -> bool:
        """Whether it may run again: it hasn't failed, nor taken so many seconds of all cores."""
        return not self.error and sum(one.cpu for one in self.times) < seconds

    def column(self, name: str) -> list[float]:
        """Seconds on the clock ("wall") or of all cores ("cpu"); the first run warms up, if there are others."""
        return [getattr(one, name) for one in self.times[1:] or self.times]


def in_turn(works: dict[str, Work], repeats: int, seconds: float) -> dict[str, Runs]:
    """Time works so many times each, in turn, after a run to warm up; one that took so many seconds runs no more."""
    found = {name: Runs() for name in works}
    for _ in range(repeats + 1):
        for name, work in works.items():
            if found[name].goes_on(seconds):
                found[name].once(work)
    return found


def spread(values: list[float], digits: int) -> str:
    """The median, and the least and the most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratio(other: list[float], mine: list[float]) -> str:
    """The ratio of medians, and those of the least favourable runs and of the most."""
    median = statistics.median(other) / statistics.median(mine)
    return f"{median:.1f} ({min(other) / max(mine):.1f}–{max(other) / min(mine):.1f})"
