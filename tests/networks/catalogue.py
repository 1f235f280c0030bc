"""All networks: importing this puts every kind into the list."""

from __future__ import annotations

from . import (
    classifiers,
    dense,
    detection,
    generative,
    graphs,
    habits,
    mobile,
    pictures,
    quantised,
    sequences,
    sounds,
    speech,
    transformers,
)
from .registry import NETWORKS, Network

KINDS = (
    classifiers, dense, detection, generative, graphs, habits, mobile, pictures, quantised, sequences, sounds, speech,
    transformers,
)  # fmt: skip

__all__ = ["KINDS", "NETWORKS", "Network"]
