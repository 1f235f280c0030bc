"""The clock of a latency budget (`chanc.rewriter.budget`): onnxruntime on this machine."""

from __future__ import annotations

from typing import Any

from chanc.backends.ort.latency import latency


def seconds(model: Any) -> float:
    """The median seconds of one input. Raises: as `latency`."""
    return latency(model).median_s
