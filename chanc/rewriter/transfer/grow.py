"""`grow`: units that are kept keep their values, new ones begin as their layers do, and nobody reads them yet.

    U'[:, new] ~ the layer's own init,    norms 1, 0, mean 0, variance 1,    W'[new, :] = 0

The function stays, and no two units are alike: twins have the same gradients and never part. A unit that is repeated
stands for its new ones; what nobody trains keeps its source's values, and so does a unit that goes through a root or a
logarithm, where a fresh one might give no number: it is one of `select`'s copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from chanc.analysis.disjoint_set import IntArray
from chanc.rewriter.edits import AxisEdit, Part
from chanc.rewriter.transfer._common import (
    SLICE,
    Tensor,
    Use,
    draw,
    first_alone,
    register,
    repeated,
    share_out,
    take,
    unread,
)


@register("grow", draws=True, keeps=True, takes=True)
def grow(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """The values at the source of every position; fresh ones where a unit is new, zero in its consumers."""
    if not any(edit.repeats for edit in edits):
        return take(tensor, edits)
    empty, anew = unread(edits, _whole), _anew(edits) if use.fill is not None else {}
    taken = share_out(take(tensor, edits, empty | anew, use.zero), edits, first_alone, _whole)
    read = {axis: np.delete(np.arange(taken.shape[axis]), gone) for axis, gone in unread(edits, lambda _: True).items()}
    for axis, new in anew.items():
        rows = np.moveaxis(taken, [axis, *read], range(1 + len(read)))
        row = (*(kept.size for kept in read.values()), *rows.shape[1 + len(read) :])
        step = max(SLICE // max(prod(row), 1), 1)
        places, *others = np.ix_(new, *read.values())
        for some in (places[start : start + step] for start in range(0, new.size, step)):
            rows[(some, *others)] = draw(tensor, use, rng, (len(some), *row), taken.shape)
    return taken


def _anew(edits: Sequence[AxisEdit]) -> dict[int, IntArray]:
    """By axis, the positions of new units that are drawn."""
    makers = [edit for edit in edits if edit.role != "consumer" and edit.repeats]
    return {edit.axis: repeated(part for part in edit.parts if part.drawable) for edit in makers}


def _whole(part: Part) -> bool:
    return part.drawable or not part.divisible
