"""Which units stay when a group shrinks, and which are repeated first when it grows: those with the highest scores."""

from __future__ import annotations

import numpy as np

from chanc.analysis import Group
from chanc.analysis.disjoint_set import IntArray
from chanc.errors import PlanError
from chanc.rewriter.importance import Evidence, Importance, Scores


def choose(group: Group, count: int, importance: Importance, evidence: Evidence) -> IntArray:
    """The `count` units to keep, ascending; ties go to the first. Raises as `judged`."""
    return np.sort(np.argsort(-judged(group, importance, evidence), kind="stable")[:count])


def judged(group: Group, importance: Importance, evidence: Evidence) -> Scores:
    """The scores of a group: [units]. Raises PlanError for an importance that doesn't give a number for each unit."""
    scores = np.asarray(importance(group, evidence), dtype=np.float64)
    if scores.shape != (group.units.size,) or np.isnan(scores).any():
        raise PlanError(f"group '{group.id}': its importance must be {group.units.size} numbers, one a unit")
    return scores
