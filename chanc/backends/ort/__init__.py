"""onnxruntime as the judge of what a model computes, and how fast."""

from __future__ import annotations

from chanc.backends.ort.batches import in_batches, run_batch, samples
from chanc.backends.ort.calibration import calibration_batches
from chanc.backends.ort.clock import seconds
from chanc.backends.ort.feeds import candidate_feeds, fitting_feeds, likely_sizes, random_feeds, read_feeds
from chanc.backends.ort.latency import (
    REPEATS,
    Latency,
    Ratio,
    Runner,
    Seconds,
    in_turn,
    latency,
    ratio,
    runner,
    summed_up,
)
from chanc.backends.ort.run import LoadError, run, session

__all__ = [
    "REPEATS", "Latency", "LoadError", "Ratio", "Runner", "Seconds", "calibration_batches", "candidate_feeds",
    "fitting_feeds", "in_batches", "in_turn", "latency", "likely_sizes", "random_feeds", "ratio", "read_feeds", "run",
    "run_batch", "runner", "samples", "seconds", "session", "summed_up",
]  # fmt: skip
