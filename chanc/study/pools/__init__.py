"""Where the cells of a sweep run: one small interface; this machine, Ray and Slurm, one file each, behind it.

A pool starts each job once, in a process of its own, and tells how it ended; to start it again is the sweep's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Job:
    """A call of `function(*arguments)`; name is for people. The function is importable, arguments can be pickled."""

    name: str
    function: Callable[..., None]
    arguments: tuple[object, ...]


Done = Callable[[Job, str], None]
"""Called once a job has ended, with what went wrong, or "" where nothing did."""


class Pool(Protocol):
    """Runs jobs somewhere."""

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        """Run all jobs, `done` after each one, and return when none is left; an interrupt stops the running ones."""


def attempt(job: Job) -> str:
    """Run a job in this process and return what went wrong, or "": for workers that report instead of exiting."""
    try:
        job.function(*job.arguments)
    except SystemExit as stop:
        if stop.__cause__ is not None:
            return one_line(stop.__cause__)
        return f"ended with exit code {stop.code}" if stop.code else ""
    except Exception as error:
        return one_line(error)
    return ""


def one_line(error: BaseException) -> str:
    """An error as people read it: its class and its text, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
