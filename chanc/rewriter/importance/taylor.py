"""`taylor`: what removing a unit does to the loss, to first order. It needs data.

Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference", and NeuralScale (Lee &
Lee 2020): s_j = mean over batches of |sum W dL/dW|, the sum over the weights of all consumers that read the unit; where
no weight reads it, over all that makes it. A group in which nothing trains is judged as `l2` does.
"""

from __future__ import annotations

from chanc.analysis import Group
from chanc.rewriter.importance import Evidence, Scores, register


@register("taylor")
def taylor(group: Group, evidence: Evidence) -> Scores:
    """The mean magnitude of each unit's effect on the loss."""
    found = evidence.effect(group)
    return evidence.magnitude(group) if found is None else found.absolute / evidence.seen.batches
