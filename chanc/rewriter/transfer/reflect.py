"""`reflect`: shrink to the first units, grow by reflecting the last ones (CONetV2, Algorithm 4, "expand").

n = 4, n' = 6:   0 1 2 3 | 3 2        n' = 11:   0 1 2 3 | 3 2 1 0 | 0 1 2
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chanc.analysis.disjoint_set import IntArray
from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer._common import Tensor, Use, register, take


@register("reflect", ordered=True, takes=True)
def reflect(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """The source's values at every position; the sources of ordered methods are those of `reflected`."""
    return take(tensor, edits)


def reflected(old: int, new: int) -> IntArray:
    """The source of each of `new` units when `old` are reflected, again and again where they don't suffice."""
    if new <= old:
        return np.arange(new, dtype=np.int64)
    wave = np.concatenate([np.arange(old), np.arange(old)[::-1]])
    return np.asarray(np.resize(wave, new), dtype=np.int64)
