"""`first`: the first units matter most, whatever their weights are."""

from __future__ import annotations

import numpy as np

from chanc.analysis import Group
from chanc.rewriter.importance import Evidence, Scores, register


@register("first")
def first(group: Group, evidence: Evidence) -> Scores:
    """Falling from the first unit on."""
    return -np.arange(group.units.size, dtype=np.float64)
