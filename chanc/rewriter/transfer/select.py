"""`select`: units that are kept keep their values.

A unit that is repeated takes its source's values, and the consumers' weights for the copy are zero, so that the
function stays and training can tell the copies apart. More copies than one have weights that cancel out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer._common import Tensor, Use, first_alone, register, share_out, take, unread


@register("select", takes=True)
def select(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """The values at the source of every position; in consumers, the first copy's alone count."""
    return share_out(take(tensor, edits, unread(edits), use.zero), edits, first_alone)
