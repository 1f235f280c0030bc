"""`init`: forget the weights and draw new ones, as training from scratch would.

What a weight is and how a fresh one begins stands in its operator's spec (`chanc.ops`). What nobody trains keeps the
values of its sources.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer._common import Tensor, Use, draw, register, resized, take


@register("init", fresh=True)
def init(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """New values for a tensor of the new shape."""
    if use.fill is None:
        return take(tensor, edits)
    shape = resized(tensor, edits)
    return draw(tensor, use, rng, shape, shape)
