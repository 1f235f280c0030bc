"""`random`: units matter by chance, the baseline of every measure."""

from __future__ import annotations

import numpy as np

from chanc.analysis import Group
from chanc.rewriter.importance import Evidence, Scores, register


@register("random")
def random(group: Group, evidence: Evidence) -> Scores:
    """A random order of the units, from the seed of the rewrite."""
    scores = np.empty(group.units.size)
    scores[evidence.rng.permutation(scores.size)] = -np.arange(scores.size)
    return scores
