"""`grow`: units that are kept keep their values, new ones begin as their layers do, and nobody reads them yet.

    U'[:, new] ~ the layer's own init,    norms 1, 0, mean 0, variance 1,    W'[new, :] = 0

The function stays, and no two units are alike: twins have the same gradients and never part. A unit that is repeated
stands for its new ones; what nobody trains keeps its source's values, and so does a unit that goes through a root or a
logarithm, where a fresh one might give no number: it is one of `select`'s copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from chanc.analysis.disjoint_set import IntArray
from chanc.rewriter.edits import AxisEdit, Part
from chanc.rewriter.transfer._common import Tensor, Use, clear_later, draw, first_alone, register, share_out, take


@register("grow", draws=True, keeps=True, takes=True)
def grow(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """The values at the source of every position; fresh ones where a unit is new, zero in its consumers."""
    if not any(edit.repeats for edit in edits):
        return take(tensor, edits)
    taken = share_out(take(tensor, edits), [_copied(edit) for edit in edits], first_alone)
    readers = [edit for edit in edits if edit.role == "consumer"]
    for edit in edits:
        new = _later(part for part in edit.parts if part.drawable)
        if edit.role != "consumer" and new.size:
            rows = np.moveaxis(taken, [edit.axis, *(reader.axis for reader in readers)], range(1 + len(readers)))
            read = np.ix_(new, *(np.delete(np.arange(r.source.size), _later(r.parts)) for r in readers))
            drawn = draw(rows[read], use, rng, taken.shape)
            rows[new] = 0
            rows[read] = drawn
    return clear_later(taken, edits, lambda part: part.drawable or not part.divisible, use.zero)


def _copied(edit: AxisEdit) -> AxisEdit:
    """The edit, of the units alone that can't be drawn: shares of theirs are other than 1 and 0."""
    return replace(edit, parts=[part for part in edit.parts if not part.drawable])


def _later(parts: Iterable[Part]) -> IntArray:
    """The positions of all second and later copies."""
    return np.concatenate([np.empty(0, dtype=np.int64), *(part.later for part in parts)])
