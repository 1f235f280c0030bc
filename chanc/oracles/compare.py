"""How far two lists of outputs are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
TOLERANCE = 1e-4
"""Of the largest expected magnitude: what rounding in float32 may cost."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one output is from what it should be: the largest error over the largest expected magnitude."""

    output: str
    shape: tuple[int, ...]
    error: float


def compare(expected: Sequence[Array], actual: Sequence[Array], names: Sequence[str]) -> list[Difference]:
    """The difference of each output; an infinite error where shapes differ or only one side is finite."""
    found = []
    for want, have, name in zip(expected, actual, names, strict=True):
        if want.shape != have.shape:
            found.append(Difference(name, have.shape, float("inf")))
            continue
        if not np.issubdtype(want.dtype, np.floating):
            found.append(Difference(name, have.shape, float(np.mean(want != have)) if want.size else 0.0))
            continue
        a, b = want.astype(np.float64), have.astype(np.float64)
        if not np.array_equal(np.isfinite(a), np.isfinite(b)):
            found.append(Difference(name, have.shape, float("inf")))
            continue
        a, b = np.nan_to_num(a), np.nan_to_num(b)
        scale = max(float(np.abs(a).max(initial=0.0)), 1e-12)
        found.append(Difference(name, have.shape, float(np.abs(a - b).max(initial=0.0)) / scale))
    return found
