"""`select`: units that are kept keep their values.

A unit that is repeated takes its source's values, and the consumers' weights for the copy are zero, so that the
function stays and training can tell the copies apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer import register
from chanc.rewriter.transfer.use import Use

Tensor = NDArray[np.generic]


@register("select")
def select(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """The values at the source of every position; zero in consumers of second and later copies."""
    taken = take(tensor, edits)
    for edit in edits:
        if edit.role == "consumer":
            for part in edit.parts:
                later = part.new[~part.first].ravel()
                if later.size:
                    taken[(slice(None),) * edit.axis + (later,)] = 0
    return taken


def take(tensor: Tensor, edits: Sequence[AxisEdit]) -> Tensor:
    """A new tensor with the source's value at every position."""
    for edit in edits:
        tensor = np.take(tensor, edit.source, axis=edit.axis)
    return tensor
