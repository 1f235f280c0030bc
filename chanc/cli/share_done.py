"""How far something has come that takes a while: a bar on a terminal, a line now and then elsewhere. On stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chanc.cli.outputs import say

EVERY = 10.0
"""Seconds between two lines."""


@contextmanager
def share_done(what: str) -> Iterator[Callable[[float], None]]:
    """Show the share that is done, 0 to 1, while the block runs; what is given is called with it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what)
        return
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _lines(what: str) -> Callable[[float], None]:
    from chanc.study.progress import duration

    said = time.monotonic()
    first: tuple[float, float] | None = None

    def tell(share: float) -> None:
        nonlocal said, first
        now = time.monotonic()
        # What was prepared before the first part says nothing of how long the others take.
        since, before = first = first or (now, share)
        if share > before and now - said >= EVERY:
            said = now
            left = (now - since) * (1 - share) / (share - before)
            say(f"{what}: {share:.0%}  ETA {duration(left)}", err=True)

    return tell
