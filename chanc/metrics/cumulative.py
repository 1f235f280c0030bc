"""The momentum of a group's QC over the trials of a search, and the cumulative metric of a trial.

CONetV2 (Wang et al. 2021): with q_t the mean QC of a channel group's operands in trial t,

    m_t = gamma m_{t-1} + q_t = sum_{i <= t} gamma^(t - i) q_i,  m_{-1} = 0

The cumulative metric of a trial (eq. 6) is read as this accumulated QC, m_t, of each group; a trial as a whole is
scored by its mean over the groups, which is also what the best trial is chosen by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean


def momentum(previous: Mapping[str, float] | None, quality: Mapping[str, float], gamma: float) -> dict[str, float]:
    """m_t by group id from m_{t-1} (None or a missing group: 0) and the groups' mean QC; gamma in [0, 1)."""
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma must lie in [0, 1), not {gamma}")
    before = previous or {}
    return {group: gamma * before.get(group, 0.0) + value for group, value in quality.items()}


def cumulative(trials: Sequence[Mapping[str, float]], gamma: float) -> list[dict[str, float]]:
    """The cumulative metric by group id after each trial; trials: the groups' mean QC, one mapping a trial."""
    found: list[dict[str, float]] = []
    for quality in trials:
        found.append(momentum(found[-1] if found else None, quality, gamma))
    return found


def score(metric: Mapping[str, float]) -> float:
    """The mean over the groups of one trial's cumulative metric; 0 where there is no group."""
    return fmean(metric.values()) if metric else 0.0
