"""`reflect`: shrink to the first units, grow by reflecting the last ones (CONetV2, Algorithm 4, "expand").

n = 4, n' = 6:   0 1 2 3 | 3 2        n' = 11:   0 1 2 3 | 3 2 1 0 | 0 1 2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from chanc.analysis.disjoint_set import IntArray
from chanc.rewrite.edits import AxisEdit, Part
from chanc.rewrite.transfer.use import Use

Tensor = NDArray[np.generic]
Shrink = Callable[[NDArray[np.float64], Part], NDArray[np.float64]]


def reflect(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """The source's values at every position; the sources of ordered methods are those of `reflected`."""
    return by_units(tensor, edits, lambda rows, part: rows[part.source])


def reflected(old: int, new: int) -> IntArray:
    """The source of each of `new` units when `old` are reflected, again and again where they don't suffice."""
    if new <= old:
        return np.arange(new, dtype=np.int64)
    wave = np.concatenate([np.arange(old), np.arange(old)[::-1]])
    return np.asarray(np.resize(wave, new), dtype=np.int64)


def by_units(tensor: Tensor, edits: Sequence[AxisEdit], shrink: Shrink) -> Tensor:
    """Resize axis after axis; each group on an axis is seen as rows, one a unit, and shrunk or reflected by itself."""
    values = tensor.astype(np.float64)
    for edit in edits:
        lead = np.moveaxis(values, edit.axis, 0)
        out = lead[edit.source]
        for part in edit.parts:
            rows = lead[part.old].reshape(part.old.shape[0], -1)
            new = shrink(rows, part) if part.source.size < part.old.shape[0] else rows[part.source]
            out[part.new] = new.reshape(*part.new.shape, *lead.shape[1:])
        values = np.moveaxis(out, 0, edit.axis)
    if tensor.dtype.kind in "iu":
        limits = np.iinfo(str(tensor.dtype))
        values = np.clip(np.rint(values), limits.min, limits.max)
    return np.ascontiguousarray(values).astype(tensor.dtype)
