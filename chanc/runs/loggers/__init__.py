"""Where the events of a run go besides its own log: trackers of experiments. One tracker a file, which registers it.

A tracker gets the rows of a run (`chanc.runs.loggers.rows`), numbered from 0, and knows the last one that it has. So a
run that was killed and goes on sends only what is missing, and nothing twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from chanc import plugins
from chanc.errors import RunError
from chanc.registry import Registry
from chanc.runs.loggers.rows import Row, rows
from chanc.runs.record import Record, read_run


class Logger(Protocol):
    """An open tracker of one run. `last`: the number of the last row that it has for good, -1 for none."""

    last: int

    def log(self, number: int, row: Row) -> None:
        """Take a row; it may be one that a killed process has sent already, but not one below `last`."""

    def close(self) -> None:
        """See to it that all is where it belongs."""


Opener = Callable[[Record], Logger]
F = TypeVar("F", bound=Opener)


@dataclass(frozen=True)
class Kind:
    """A kind of tracker, and the package that it needs."""

    open: Opener
    package: str


LOGGERS: Registry[Kind] = Registry("logger", "chanc.loggers", __name__)


def register(name: str, *, package: str) -> Callable[[F], F]:
    """Decorator: make what opens a tracker known. Raises ChancError where the name is taken."""

    def add(opener: F) -> F:
        LOGGERS.add(name, Kind(opener, package), source=opener)
        return opener

    return add


def expect(names: Sequence[str]) -> None:
    """Raise ChancError for a name that there isn't, MissingDependencyError for a package that isn't installed."""
    for name in names:
        plugins.expect(LOGGERS[name].package, f"--log {name}", name)


@contextlib.contextmanager
def following(names: Sequence[str], path: Path) -> Iterator[Callable[[], None]]:
    """Yield what sends on all that the trackers lack of the run in `path`; they are opened when it is first called.

    It raises RunError with a line of what went wrong with any of them; the others have got theirs, and it gets the rest
    the next time.
    """
    loggers: dict[str, Logger] = {}

    def follow() -> None:
        record, problems = read_run(path), []
        for name in names:
            try:
                if name not in loggers:
                    loggers[name] = LOGGERS[name].open(record)
                _send(record, loggers[name])
            except Exception as error:  # servers and a stranger's code may raise anything
                problems.append(f"{name}: {plugins.told(error)}")
        if problems:
            raise RunError("; ".join(problems))

    try:
        yield follow
    finally:
        for logger in loggers.values():
            with contextlib.suppress(Exception):  # what it lacks is sent when the run goes on
                logger.close()


def _send(record: Record, logger: Logger) -> None:
    for number, row in enumerate(rows(record.log)):
        if number > logger.last:
            logger.log(number, row)
            logger.last = number
