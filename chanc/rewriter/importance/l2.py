"""`l2`: the sum of the squares of a unit's weights, the default.

Li et al. 2017, "Pruning Filters for Efficient ConvNets": s_j = sum W_j^2, over all rows that make the unit's channels;
its root would rank them alike.
"""

from __future__ import annotations

from chanc.analysis import Group
from chanc.rewriter.importance import Evidence, Scores, register


@register("l2")
def l2(group: Group, evidence: Evidence) -> Scores:
    """The squared L2 norm of each unit's producer weights."""
    return evidence.magnitude(group)
