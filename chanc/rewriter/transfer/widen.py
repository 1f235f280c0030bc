"""`widen`: Net2WiderNet (Chen et al. 2016): a repeated unit is cloned, its consumers' weights divided by the copies.

    U'[:, j] = U[:, g(j)],    W'[j, :] = W[g(j), :] / |{i : g(i) = g(j)}|

The function stays, whatever lies between producer and consumer as long as it treats channels alike. Where a consumer's
weights are integers, or are rounded in the graph, they can't be divided: the first copy keeps them, the others get 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer._common import Tensor, Use, clear_later, register, take


@register("widen", shares=True)
def widen(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """The values at the source of every position, shared out among copies along consumer axes."""
    taken = take(tensor, edits)
    for edit in edits:
        if edit.role != "consumer":
            continue
        copies = np.ones(edit.source.size)
        for part in edit.parts:
            if part.divisible:
                copies[part.new] = part.copies[:, None]
        if (copies > 1).any():
            shape = [1] * tensor.ndim
            shape[edit.axis] = copies.size
            taken = (taken.astype(np.float64) / copies.reshape(shape)).astype(tensor.dtype)
    return clear_later(taken, edits, lambda part: not part.divisible, use.zero)
