"""onnxruntime as the judge of what a model computes, and how fast."""

from __future__ import annotations

from chanc.backends.ort.clock import seconds
from chanc.backends.ort.feeds import candidate_feeds, fitting_feeds, likely_sizes, random_feeds, read_feeds
from chanc.backends.ort.latency import Latency, latency
from chanc.backends.ort.run import LoadError, run, session
from chanc.backends.ort.samples import in_batches

__all__ = [
    "Latency", "LoadError", "candidate_feeds", "fitting_feeds", "in_batches", "latency", "likely_sizes", "random_feeds",
    "read_feeds", "run", "seconds", "session",
]  # fmt: skip
