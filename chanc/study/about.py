"""What a run is recorded with: which model it was, and what it was judged on."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np

from chanc.files import Json, plain

if TYPE_CHECKING:
    from chanc.analysis import Analysis
    from chanc.data import Data, DataSource


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


def contents(data: Data, source: DataSource) -> dict[str, Json]:
    """What a run must agree on besides the words for its data: how pixels are taken, and what came from Python."""
    named = isinstance(source, str | os.PathLike)
    return {**data.metadata(), **({} if named else {"contents": plain(data.fingerprint())})}


def judged_on(data: Data, task: str) -> dict[str, Json]:
    """How many samples trials are judged on, and the top-1 of guessing there, the share of the most frequent label."""
    facts: dict[str, Json] = {"held_out": data.counts[1]}
    labels = np.asarray(data.test_labels)
    if task == "classification" and labels.ndim == 1 and len(labels):
        facts["chance"] = float(np.unique(labels, return_counts=True)[1].max() / len(labels))
    return facts
