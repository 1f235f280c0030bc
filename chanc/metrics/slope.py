"""The rank slope of CONet: how fast the rank of a channel group grows before it levels off.

CONet (Hosseini et al. 2021), Algorithm 2: with R_e the group's mean rank after epoch e = 0, 1, ... of a trial,

    S = (R_plateau - R_0) / plateau

The plateau is the first epoch with the highest rank; a rank that never rises above R_0 has slope 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RankSlope:
    """slope: rise of the rank an epoch, >= 0; plateau: the epoch (from 0) at which the rank stops rising."""

    slope: float
    plateau: int


def rank_slope(ranks: Sequence[float]) -> RankSlope:
    """The slope of one group's mean ranks, one value an epoch. Raises `ValueError` where there is none."""
    if not len(ranks):
        raise ValueError("a rank slope needs the rank of at least one epoch")
    plateau = int(np.argmax(ranks))
    rise = float(ranks[plateau] - ranks[0])
    return RankSlope(rise / plateau if plateau else 0.0, plateau)


def rank_slopes(epochs: Sequence[Mapping[str, float]]) -> dict[str, RankSlope]:
    """The slope of every group; epochs: per epoch of a trial, the mean rank by group id."""
    groups = epochs[0] if epochs else {}
    return {group: rank_slope([ranks[group] for ranks in epochs]) for group in groups}
