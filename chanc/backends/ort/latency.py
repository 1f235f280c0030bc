"""How long models take in onnxruntime: the one loop that measures it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chanc.backends.ort.feeds import fitting_feeds
from chanc.backends.ort.run import Array, run, session

REPEATS, WARMUP = 50, 5
LEAST = 3
"""Turns that are measured however long they take."""
Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Latency:
    """Seconds of one run: median, 10th and 90th percentile, the execution provider that did it, and how many runs."""

    median_s: float
    p10_s: float
    p90_s: float
    provider: str
    runs: int


@dataclass(frozen=True)
class Ratio:
    """One model's time over another's of the same turn: median, 10th and 90th percentile over the turns.

    faster: in how many of the turns it took less.
    """

    median: float
    p10: float
    p90: float
    faster: int
    turns: int

    @property
    def told(self) -> bool:
        """Whether one is the faster in more turns than chance makes it, by two standard errors (a sign test)."""
        return abs(2 * self.faster - self.turns) > 2 * math.sqrt(self.turns)


@dataclass(frozen=True)
class Runner:
    """A model in onnxruntime with the inputs that it is timed on."""

    session: Any
    feeds: Mapping[str, Array]

    @property
    def provider(self) -> str:
        """The execution provider that is asked first."""
        return str(self.session.get_providers()[0])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the inputs."""
        return {name: array.shape for name, array in self.feeds.items()}


def runner(
    model: Any,
    *,
    batch: int = 1,
    threads: int = 0,
    sizes: Mapping[str, int] | None = None,
    feeds: Mapping[str, Array] | None = None,
    device: str = "cpu",
) -> Runner:
    """A model with graph optimisation on, and inputs: `feeds`, or made-up ones that it runs on.

    Args:
        model: anything that `chanc.ir.load` takes.
        batch: size of a dynamic batch axis; a static one is kept.
        threads: threads inside an operator; 0 leaves it to onnxruntime.
        sizes: sizes of other dynamic axes, as in `fitting_feeds`.
        feeds: inputs by name, in place of made-up ones.
        device: as in `session`; copies to and from the device are part of the time.

    Raises:
        ModelError, MissingDependencyError: as `session`, `fitting_feeds` and `run`.
    """
    opened = session(model, threads=threads, device=device)
    if feeds is None:
        return Runner(opened, fitting_feeds(model, batch=batch, sizes=sizes, opened=opened))
    run(opened, feeds)
    return Runner(opened, feeds)


def in_turn(
    runners: Sequence[Runner],
    *,
    repeats: int | None = REPEATS,
    seconds: float | None = None,
    warmup: int = WARMUP,
    on_turn: Callable[[float], None] | None = None,
) -> Seconds:
    """Seconds of each timed run: [runners, turns]. All run once a turn, so that what slows the machine slows all.

    Every other turn goes backwards, so that none always runs in the wake of the same other. repeats: turns; seconds:
    of timed runs in all, though not under three turns; what is first reached of the two. warmup: untimed runs of each
    before. on_turn: is told after each turn which share is done.
    """
    limits = [limit for limit in (repeats, seconds) if limit is not None]
    if not limits or min(limits) <= 0 or warmup < 0:
        raise ValueError(f"repeats {repeats} and seconds {seconds} must be above 0, warmup {warmup} at least 0")
    for one in runners:
        for _ in range(warmup):
            run(one.session, one.feeds)
    turns: list[list[float]] = []
    spent = done = 0.0
    while done < 1:
        turns.append(_turn(runners, backwards=len(turns) % 2 == 1))
        spent += sum(turns[-1])
        by_count = len(turns) / repeats if repeats else 0.0
        by_time = min(spent / seconds, len(turns) / LEAST) if seconds else 0.0
        done = max(by_count, by_time)
        if on_turn is not None:
            on_turn(min(done, 1.0))
    return np.array(turns).T


def _turn(runners: Sequence[Runner], *, backwards: bool) -> list[float]:
    """Seconds of one run each, in the order of the runners."""
    found = [0.0] * len(runners)
    for k in sorted(range(len(runners)), reverse=backwards):
        start = time.perf_counter()
        run(runners[k].session, runners[k].feeds)
        found[k] = time.perf_counter() - start
    return found


def summed_up(one: Runner, seconds: Seconds) -> Latency:
    """The percentiles of the seconds of its runs, [turns]."""
    low, median, high = np.percentile(seconds, (10, 50, 90)).tolist()
    return Latency(median, low, high, one.provider, len(seconds))


def ratio(other: Seconds, one: Seconds) -> Ratio:
    """How many times as long the other took, turn by turn: [turns] both."""
    low, median, high = np.percentile(other / one, (10, 50, 90)).tolist()
    return Ratio(median, low, high, int((other < one).sum()), len(one))


def latency(
    model: Any,
    batch: int = 1,
    repeats: int = REPEATS,
    warmup: int = WARMUP,
    *,
    threads: int = 0,
    sizes: Mapping[str, int] | None = None,
    device: str = "cpu",
) -> Latency:
    """Time `repeats` runs of `model` on random inputs after `warmup` untimed ones.

    The other arguments, and what is raised, are those of `runner`.
    """
    if batch < 1:
        raise ValueError(f"a batch must be at least 1, not {batch}")
    one = runner(model, batch=batch, threads=threads, sizes=sizes, device=device)
    return summed_up(one, in_turn([one], repeats=repeats, warmup=warmup)[0])
