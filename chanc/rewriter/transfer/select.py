"""`select`: units that are kept keep their values.

A unit that is repeated takes its source's values, and the consumers' weights for the copy are zero, so that the
function stays and training can tell the copies apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer._common import Tensor, Use, clear_later, register, take


@register("select")
def select(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """The values at the source of every position; zero in consumers of second and later copies."""
    return clear_later(take(tensor, edits), edits, lambda part: True, use.zero)
