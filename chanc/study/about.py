"""What a run is recorded with: which model it was, and what it was judged on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from chanc.files import Json

if TYPE_CHECKING:
    from chanc.analysis import Analysis
    from chanc.data import Dataset


def fingerprint(analysis: Analysis) -> dict[str, Json]:
    """What tells a model from another one: its widths, and a checksum of its structure and weights."""
    digest = hashlib.sha256()
    for node in analysis.model.graph:
        digest.update(f"{node.op_type} {[value.name if value else '' for value in node.inputs]}\n".encode())
    for name, value in analysis.model.graph.initializers.items():
        digest.update(name.encode())
        if value.const_value is not None:
            digest.update(value.const_value.tobytes())
    return {"params": analysis.params, "macs": analysis.macs, "sha256": digest.hexdigest()}


def judged_on(data: Dataset, task: str) -> dict[str, Json]:
    """How many images trials are judged on, and the top-1 of guessing there, the share of the most frequent label."""
    labels = np.asarray(data.test_labels)
    facts: dict[str, Json] = {"held_out": len(labels)}
    if task == "classification" and labels.ndim == 1 and len(labels):
        facts["chance"] = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    return facts
