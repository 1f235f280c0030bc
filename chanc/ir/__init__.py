"""Models in memory: reading, writing, checking, and the door to onnx-graphsurgeon."""

from __future__ import annotations

from chanc.files import atomic_write, atomic_write_json, atomic_write_text
from chanc.ir.check import check
from chanc.ir.load import copy_model, load
from chanc.ir.save import like, save, to_bytes, to_proto
from chanc.ir.verify import verify

__all__ = [
    "atomic_write",
    "atomic_write_json",
    "atomic_write_text",
    "check",
    "copy_model",
    "like",
    "load",
    "save",
    "to_bytes",
    "to_proto",
    "verify",
]
