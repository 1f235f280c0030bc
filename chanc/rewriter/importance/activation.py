"""`activation`: how large a unit's values are, as the layers that read it see them. It needs data.

s_j = sqrt(mean x_j^2) over samples and positions, of all consumers together. A group that no convolution and no linear
layer reads is judged by the squares of its weights, as `l2` does.
"""

from __future__ import annotations

from chanc.analysis import Group
from chanc.rewriter.importance import Evidence, Scores, register


@register("activation")
def activation(group: Group, evidence: Evidence) -> Scores:
    """The root mean square of each unit's values."""
    found = evidence.norms(group)
    return evidence.magnitude(group) if found is None else found
