"""Which units stay when a group shrinks, and which are repeated first when it grows.

The importance of a unit is the norm of its producers' weights (Li et al. 2017, "Pruning Filters for Efficient
ConvNets"): a sum over all rows that make its channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chanc.analysis import Analysis, Group
from chanc.analysis.disjoint_set import IntArray

SELECTIONS = ("l2", "l1", "first", "random")


def choose(analysis: Analysis, group: Group, count: int, select: str, rng: np.random.Generator) -> IntArray:
    """The `count` units to keep, ascending; ties go to the first. `select` is one of `SELECTIONS`."""
    total = group.units.size
    if select == "random":
        return np.sort(rng.permutation(total)[:count])
    if select == "first":
        return np.arange(count)
    scores = importance(analysis, group, 1 if select == "l1" else 2)
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def importance(analysis: Analysis, group: Group, order: int) -> NDArray[np.float64]:
    """The L1 (order 1) or L2 norm of each unit's producer weights: [units]."""
    scores = np.zeros(group.units.size)
    seen: set[tuple[str, int]] = set()
    operands = group.producers or tuple(group.operands)
    for operand in operands:
        if (operand.initializer, operand.axis) in seen:
            continue
        seen.add((operand.initializer, operand.axis))
        value = analysis.model.graph.initializers[operand.initializer].const_value
        assert value is not None
        lead = np.moveaxis(value.numpy().astype(np.float32, copy=False), operand.axis, 0)
        rows = lead.reshape(lead.shape[0], -1)
        norm = (
            np.abs(rows).sum(axis=1, dtype=np.float64)
            if order == 1
            else np.einsum("ij,ij->i", rows, rows).astype(np.float64)
        )
        scores += norm[operand.indices].sum(axis=1)
    return scores
