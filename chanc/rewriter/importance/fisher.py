"""`fisher`: what removing a unit does to the loss, to second order, by the Fisher information. It needs data.

Theis et al. 2018, "Faster gaze prediction with dense networks and Fisher pruning": s_j = 1/2 mean over batches of
(sum W dL/dW)^2, the sum as in `taylor`. A group in which nothing trains is judged as `l2` does.
"""

from __future__ import annotations

from chanc.analysis import Group
from chanc.rewriter.importance import Evidence, Scores, register


@register("fisher")
def fisher(group: Group, evidence: Evidence) -> Scores:
    """Half the mean square of each unit's effect on the loss."""
    found = evidence.effect(group)
    return evidence.magnitude(group) if found is None else found.squared / (2 * evidence.seen.batches)
