"""What a judgement spends its time on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping


class Spent:
    """Seconds on the clock by what they went to, in the order in which that came up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.monotonic()

    @contextlib.contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Book what the block takes, also where it raises. Blocks don't nest."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.monotonic() - start

    def all(self, rest: str) -> dict[str, float]:
        """Everything since this was made; what no block had goes to the `rest`."""
        whole = time.monotonic() - self._start
        return {**self.seconds, rest: whole - sum(self.seconds.values())}


def told(seconds: Mapping[str, float]) -> str:
    """The whole, and the shares of what it went to, the largest first: 3.1 s (runs 60 %, sessions 40 %)."""
    whole = sum(seconds.values())
    shares = sorted(seconds.items(), key=lambda entry: -entry[1])
    return f"{whole:.1f} s ({', '.join(f'{what} {100 * part / whole:.0f} %' for what, part in shares)})"
