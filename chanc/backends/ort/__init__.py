"""onnxruntime as the judge of what a model computes, and how fast."""

from __future__ import annotations

from chanc.backends.ort.feeds import fitting_feeds, random_feeds
from chanc.backends.ort.latency import Latency, latency
from chanc.backends.ort.run import run, session

__all__ = ["Latency", "fitting_feeds", "latency", "random_feeds", "run", "session"]
