"""`geometric-median`: how far a unit is from the others, whose work it might do.

He et al. 2019, "Filter Pruning via Geometric Median": s_j = sum over k of ||v_j - v_k||_2. Here v_j is all that makes
the unit: its rows of every producer, its biases, the scales and shifts of its norms.
"""

from __future__ import annotations

import numpy as np

from chanc.analysis import Group
from chanc.rewriter.importance import Evidence, Scores, register


@register("geometric-median")
def geometric_median(group: Group, evidence: Evidence) -> Scores:
    """The sum of each unit's distances from all others."""
    vectors = np.concatenate([rows.astype(np.float64) for rows in evidence.makers(group)], axis=1)
    vectors -= vectors.mean(axis=0)  # distances stay, and fewer digits cancel
    squares = np.einsum("ij,ij->i", vectors, vectors)
    between = squares[:, None] + squares - 2 * vectors @ vectors.T
    return np.asarray(np.sqrt(np.maximum(between, 0)).sum(axis=1))
