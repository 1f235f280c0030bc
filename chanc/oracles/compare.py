"""How far two lists of outputs are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
TOLERANCE = 1e-4
"""Of the largest expected magnitude: what rounding in float32 may cost."""
_HUGE = 1e8
"""Beyond it float32 doesn't see whole numbers: a mask's value, where it is the same on both sides."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one output is from what it should be: the largest error over the largest expected magnitude."""

    output: str
    shape: tuple[int, ...]
    error: float


def compare(expected: Sequence[Array], actual: Sequence[Array], names: Sequence[str]) -> list[Difference]:
    """The difference of each output; an infinite error where shapes differ, or what is not finite is not the same.

    A mask leaves -inf, or a huge number, in a score: both sides must have it at the same places, and it hides nothing.
    """
    return [
        Difference(name, have.shape, _error(want, have))
        for want, have, name in zip(expected, actual, names, strict=True)
    ]


def worst(found: Sequence[Difference]) -> float:
    """The largest error of several outputs."""
    return max((difference.error for difference in found), default=0.0)


def _error(want: Array, have: Array) -> float:
    if want.shape != have.shape:
        return float("inf")
    if not np.issubdtype(want.dtype, np.inexact):
        return float(np.mean(want != have)) if want.size else 0.0
    kind = np.complex128 if np.issubdtype(want.dtype, np.complexfloating) else np.float64
    a, b = want.astype(kind), have.astype(kind)
    finite = np.isfinite(a) & ~((a == b) & (np.abs(a) >= _HUGE))
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(b[finite]).all():
        return float("inf")
    scale = max(float(np.abs(a[finite]).max(initial=0.0)), 1e-12)
    return float(np.abs(a[finite] - b[finite]).max(initial=0.0)) / scale
