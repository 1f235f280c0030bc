"""What repeated trainings tell: mean and standard error, paired differences with their interval, rank correlation.

Two networks that were trained with the same seeds differ by d_i, i = 1..n; with s their standard deviation

    mean(d) ± t s / sqrt(n),   t: the 97.5 % quantile of Student's distribution with n - 1 degrees of freedom

holds 95 % of the time. A difference that lies within it, or within two standard errors, can't be told from none.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Judgement = Literal["better", "worse", "can't tell"]
Loss = Literal["less", "more", "can't tell"]

MARGIN = 0.01
"""An accuracy (0 to 1) that one may give up for a smaller network: a point."""


@dataclass(frozen=True)
class Difference:
    """The mean of n paired differences, its standard error (None for one pair), and half of its 95 % interval."""

    n: int
    mean: float
    error: float | None
    reach: float | None

    @property
    def judgement(self) -> Judgement:
        """What it says. Differences that are all alike show no spread to be judged by: nobody can tell."""
        if not self.error or self.reach is None or abs(self.mean) <= max(self.reach, 2 * self.error):
            return "can't tell"
        return "better" if self.mean > 0 else "worse"

    @property
    def loss(self) -> Loss:
        """Whether less or more than `MARGIN` is lost: where the interval lies to one side of it."""
        if not self.error or self.reach is None or abs(self.mean + MARGIN) <= self.reach:
            return "can't tell"
        return "less" if self.mean > -MARGIN else "more"


def difference(one: Mapping[str, float], other: Mapping[str, float]) -> Difference | None:
    """One minus the other over the seeds that both were trained with; None where there is no such seed."""
    pairs = [one[seed] - other[seed] for seed in one if seed in other]
    if not pairs:
        return None
    error = standard_error(pairs)
    reach = None if error is None else error * t_quantile(len(pairs) - 1)
    return Difference(len(pairs), statistics.fmean(pairs), error, reach)


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean of values, None for less than two."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def t_quantile(freedom: int, inside: float = 0.95) -> float:
    """The t for which a share `inside` of Student's distribution with `freedom` degrees lies within ±t."""
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, freedom) < inside else (low, middle)
    return high


def _inside(t: float, freedom: int) -> float:
    """The share of Student's distribution within ±t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= square * k / (k + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Spearman's rho: the correlation of ranks, ties at their mean; None where one side has no two values."""
    if len(set(xs)) < 2 or len(set(ys)) < 2:
        return None
    return statistics.correlation(_ranks(xs), _ranks(ys))


def least_correlation(n: int) -> float:
    """The |rho| from which on n pairs can't be told from unrelated ones by chance in 95 % of cases; 1 below 4 pairs."""
    if n < 4:
        return 1.0
    t = t_quantile(n - 2)
    return t / math.sqrt(n - 2 + t * t)


def _ranks(values: Sequence[float]) -> list[float]:
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]
