"""What is written in the place of numbers and texts: what nobody expects there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Rng = np.random.Generator
T = TypeVar("T")

INTEGERS = (0, 1, -1, 2, 3, 7, 64, 255, -2, 1 << 31, (1 << 31) - 1, -(1 << 31), 1 << 40, (1 << 62) + 1, -(1 << 63),
            (1 << 63) - 1)  # fmt: skip
FLOATS = (0.0, -1.0, 1e38, -1e-38, float("nan"), float("inf"))
TEXTS = ("", "x", "a b", "é", "\x1b[2J\x07", "\r\nchanc: done", "\u202e", "a" * 5000, "../../x", "/dev/zero", "a/b:c",
         "0", "'\"\\{}%s", "if", "\0", "weights.bin", "9**9**9**9", "n//0", "-n", "ai.onnx")  # fmt: skip


def pick(rng: Rng, choices: Sequence[T]) -> T:
    """One of them."""
    return choices[int(rng.integers(len(choices)))]
