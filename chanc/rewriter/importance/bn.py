"""`bn`: the scales of the normalisations behind a unit.

Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming": s_j = sum |gamma_j|, over all
norms that the unit's channels pass. A group without a norm is judged by the squares of its weights, as `l2` does.
"""

from __future__ import annotations

import numpy as np

from chanc.analysis import Group
from chanc.rewriter.importance import Evidence, Scores, register


@register("bn")
def bn(group: Group, evidence: Evidence) -> Scores:
    """The magnitudes of each unit's norm scales."""
    scales = [np.abs(rows).sum(axis=1, dtype=np.float64) for rows in evidence.scales(group)]
    return np.sum(scales, axis=0) if scales else evidence.magnitude(group)
