"""The cumulative metric of a trial (CONetV2, Wang et al. 2021, equation 6).

With m_l the QC of layer l accumulated over the trials, m_l^t = gamma m_l^{t-1} + QC_l^t, and D the channel groups

    m = (1 / n_D) sum_{d in D} sum_{l in d} m_l,    n_D: the number of all their layers

Accumulation is linear, so the sum over the layers of a group is their number times the group's accumulated mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping


def cumulative(momentum: Mapping[str, float], members: Mapping[str, int]) -> float:
    """Equation 6 from each group's accumulated mean QC and its number of measured layers; 0 where nothing is."""
    layers = sum(members.get(group, 0) for group in momentum)
    return math.fsum(value * members.get(group, 0) for group, value in momentum.items()) / layers if layers else 0.0
