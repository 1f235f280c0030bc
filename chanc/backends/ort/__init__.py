"""onnxruntime as the judge of what a model computes, and how fast."""

from __future__ import annotations

from chanc.backends.ort.feeds import candidate_feeds, fitting_feeds, random_feeds, read_feeds
from chanc.backends.ort.latency import Latency, latency
from chanc.backends.ort.run import LoadError, run, session
from chanc.backends.ort.samples import in_batches

__all__ = [
    "Latency", "LoadError", "candidate_feeds", "fitting_feeds", "in_batches", "latency", "random_feeds", "read_feeds",
    "run", "session",
]  # fmt: skip
