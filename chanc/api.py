"""The public functions: each joins rooms that know nothing of one another."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

from chanc import study
from chanc.study import Run

P = ParamSpec("P")


def _reported(search: Callable[P, Run]) -> Callable[P, Run]:
    """The search with report.html drawn anew after each trial."""

    @functools.wraps(search)
    def reported(*args: P.args, **options: P.kwargs) -> Run:
        options.setdefault("on_change", _draw)
        return search(*args, **options)

    reported.__module__ = __name__  # a sweep sends it to other processes by its name
    return reported


def _draw(run: Path) -> None:
    from chanc.report import write_report

    write_report(run)


search = _reported(study.search)
