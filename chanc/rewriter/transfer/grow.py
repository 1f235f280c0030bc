"""`grow`: units that are kept keep their values, new ones begin as their layers do, and nobody reads them yet.

    U'[:, new] ~ the layer's own init,    norms 1, 0, mean 0, variance 1,    W'[new, :] = 0

The function stays, and no two units are alike: twins have the same gradients and never part. A unit that is repeated
stands for its new ones; what nobody trains keeps its source's values, and so does a unit that goes through a root or a
logarithm, where a fresh one might give no number: it is one of `select`'s copies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chanc.rewriter.edits import AxisEdit, Part
from chanc.rewriter.transfer._common import Tensor, Use, clear_later, draw, first_alone, register, share_out, take


@register("grow", draws=True, keeps=True, takes=True)
def grow(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """The values at the source of every position; fresh ones where a unit is new, zero in its consumers."""
    if not any(edit.repeats for edit in edits):
        return take(tensor, edits)
    taken = share_out(take(tensor, edits), edits, _shares)
    new, unread = (np.zeros(taken.shape, dtype=bool) for _ in range(2))
    for edit in edits:
        for part in edit.parts:
            if part.drawable or edit.role == "consumer":
                mask = unread if edit.role == "consumer" else new
                mask[(slice(None),) * edit.axis + (part.later,)] = True
    if new.any():
        np.copyto(taken, draw(taken, use, rng), where=new)
        taken[new & unread] = 0
    return clear_later(taken, edits, lambda part: not part.divisible, use.zero)


def _shares(part: Part) -> NDArray[np.float64]:
    return np.where(part.turn > 0, 0.0, 1.0) if part.drawable else first_alone(part)
