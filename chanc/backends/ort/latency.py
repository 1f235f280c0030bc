"""How long a model takes in onnxruntime."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chanc.backends.ort.feeds import fitting_feeds
from chanc.backends.ort.run import run, session
from chanc.ir import load


@dataclass(frozen=True)
class Latency:
    """Seconds of one run: median, 10th and 90th percentile, and the execution provider that did it."""

    median_s: float
    p10_s: float
    p90_s: float
    provider: str


def latency(
    model: Any,
    batch: int = 1,
    repeats: int = 50,
    warmup: int = 5,
    *,
    threads: int = 0,
    sizes: Mapping[str, int] | None = None,
    device: str = "cpu",
) -> Latency:
    """Time `repeats` runs of `model` on random inputs after `warmup` untimed ones, with graph optimisation on.

    Args:
        model: anything that `chanc.ir.load` takes.
        batch: size of a dynamic batch axis; a static one is kept.
        repeats: timed runs, at least 1.
        warmup: untimed runs before them.
        threads: threads inside an operator; 0 leaves it to onnxruntime.
        sizes: sizes of other dynamic axes, as in `fitting_feeds`.
        device: "cpu" or "cuda"; copies to and from the device are part of the time.

    Raises:
        ModelError, MissingDependencyError: as `session`, `fitting_feeds` and `run`.
    """
    if repeats < 1 or warmup < 0 or batch < 1:
        raise ValueError(f"repeats {repeats}, warmup {warmup} and batch {batch} must be at least 1, 0 and 1")
    loaded = load(model, copy=False)
    opened = session(loaded, threads=threads, device=device)
    feeds = fitting_feeds(loaded, batch=batch, sizes=sizes, opened=opened)
    seconds = []
    for turn in range(warmup + repeats):
        start = time.perf_counter()
        run(opened, feeds)
        if turn >= warmup:
            seconds.append(time.perf_counter() - start)
    low, median, high = np.percentile(seconds, (10, 50, 90))
    return Latency(float(median), float(low), float(high), opened.get_providers()[0])
