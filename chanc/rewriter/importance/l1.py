"""`l1`: the sum of the magnitudes of a unit's weights.

Li et al. 2017, "Pruning Filters for Efficient ConvNets": s_j = sum |W_j|, over all rows that make the unit's channels.
"""

from __future__ import annotations

import numpy as np

from chanc.analysis import Group
from chanc.rewriter.importance import Evidence, Scores, register


@register("l1")
def l1(group: Group, evidence: Evidence) -> Scores:
    """The L1 norm of each unit's producer weights."""
    return evidence.total(group, lambda rows: np.abs(rows).sum(axis=1, dtype=np.float64))
