"""`widen`: Net2WiderNet (Chen et al. 2016): a repeated unit is cloned, its consumers' weights divided by the copies.

    U'[:, j] = U[:, g(j)],    W'[j, :] = W[g(j), :] / |{i : g(i) = g(j)}|

The function stays, whatever lies between producer and consumer as long as it treats channels alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer import register
from chanc.rewriter.transfer._common import Tensor, Use, take


@register("widen")
def widen(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """The values at the source of every position, shared out among copies along consumer axes."""
    taken = take(tensor, edits)
    for edit in edits:
        if edit.role != "consumer" or (not np.issubdtype(tensor.dtype, np.inexact) and tensor.dtype.kind != "V"):
            continue
        copies = np.ones(edit.source.size)
        for part in edit.parts:
            copies[part.new] = part.copies[:, None]
        if (copies > 1).any():
            shape = [1] * tensor.ndim
            shape[edit.axis] = copies.size
            taken = (taken.astype(np.float64) / copies.reshape(shape)).astype(tensor.dtype)
    return taken
