"""Weights as training leaves them, without a training."""

from __future__ import annotations

import numpy as np


def trained(g: np.random.Generator, outer: int, inner: int, kernel: int) -> np.ndarray:
    """A convolution's weight [O, I, k, k], float32: noise, and a part of low rank."""
    columns = inner * kernel**2
    rank = max(1, min(outer, inner) // 6)
    noise = g.standard_normal((outer, columns)) / columns**0.5
    signal = g.standard_normal((outer, rank)) @ g.standard_normal((rank, columns)) / columns**0.5
    return (noise + 0.5 * signal).reshape(outer, inner, kernel, kernel).astype(np.float32)
