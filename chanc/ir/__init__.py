"""Models in memory: reading, writing, checking, and the door to onnx-graphsurgeon."""

from __future__ import annotations

from chanc.ir.files import atomic_write, atomic_write_json, atomic_write_text
from chanc.ir.load import load
from chanc.ir.save import save

__all__ = ["atomic_write", "atomic_write_json", "atomic_write_text", "load", "save"]
