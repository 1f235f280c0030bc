"""An order of units in which as many given sets as possible stand side by side: what is read of them is then a slice.

An ordered list of blocks is refined, set by set: a set fits if the blocks that it meets stand side by side and all but
the outer two of them are whole inside it. Any two sets fit, and any that lie in one another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chanc.analysis.disjoint_set import IntArray


def consecutive(count: int, sets: Sequence[IntArray]) -> IntArray:
    """The units 0 to `count` - 1 in such an order: [count]; earlier sets go first where not all of them fit."""
    blocks: list[list[int]] = [list(range(count))]
    for units in sets:
        blocks = _fitted(blocks, set(units.tolist())) or blocks
    return np.array([unit for block in blocks for unit in block], dtype=np.int64)


def _fitted(blocks: list[list[int]], wanted: set[int]) -> list[list[int]] | None:
    """The blocks, cut up so that what is wanted stands side by side; None where it can't."""
    met = [k for k, block in enumerate(blocks) if wanted.intersection(block)]
    if not met or met != list(range(met[0], met[-1] + 1)):
        return None
    if any(not wanted.issuperset(blocks[k]) for k in met[1:-1]):
        return None
    found: list[list[int]] = []
    for k, block in enumerate(blocks):
        inside = [unit for unit in block if unit in wanted]
        outside = [unit for unit in block if unit not in wanted]
        # What is inside stands towards the other blocks that are met: at the end of the first of them.
        parts = [outside, inside] if k == met[0] and len(met) > 1 else [inside, outside]
        found += [part for part in parts if part]
    return found
