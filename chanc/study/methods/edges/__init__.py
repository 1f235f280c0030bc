"""Edge methods: one network is trained, and consumers drop channels of what they read, each its own."""

from __future__ import annotations

from chanc.study.methods.edges.cnas import Cnas

__all__ = ["Cnas"]
