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

    begun = said = time.monotonic()

    def tell(share: float) -> None:
        nonlocal said
        now = time.monotonic()
        if share > 0 and now - said >= EVERY:
            said = now
            say(f"{what}: {share:.0%}  ETA {duration((now - begun) * (1 - share) / share)}", err=True)

    return tell
