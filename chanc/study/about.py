"""What a run is recorded with: which model it was, what ran, and on what."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def fingerprint(analysis: Any) -> dict[str, Any]:
    """What tells a model from another one: its widths, and a checksum of its structure and weights."""
    digest = hashlib.sha256()
    for node in analysis.model.graph:
        digest.update(f"{node.op_type} {[value.name if value else '' for value in node.inputs]}\n".encode())
    for name, value in analysis.model.graph.initializers.items():
        digest.update(name.encode())
        digest.update(value.const_value.tobytes())
    return {"params": analysis.params, "macs": analysis.macs, "sha256": digest.hexdigest()}


def environment(model: Any, command: Sequence[str]) -> dict[str, Any]:
    """Versions and names, for the record: none of it decides what a search does."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("chanc", "torch", "onnx", "onnx-ir", "onnxruntime", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else type(model).__name__
    return {"model": name, "command": list(command), "platform": platform.platform(), "versions": versions}
