"""The free energy of empirical VBMF as a function of the noise variance, and its slope.

Nakajima, Sugiyama, Babacan and Tomioka, "Global analytic solution of fully-observed variational Bayesian matrix
factorization" (JMLR 14, 2013). For an L x M matrix, L <= M, alpha = L/M, with c_i = s_i^2 / M and x_i = c_i / sigma^2:

    F(sigma^2) = sum_{x <= xbar} (x - ln x)
               + sum_{x >  xbar} (x - tau + ln((tau + 1) / x) + alpha ln(tau / alpha + 1))
    tau(x) = (x - (1 + alpha) + sqrt((x - (1 + alpha))^2 - 4 alpha)) / 2
    xbar = (1 + t)(1 + alpha / t),  t = 2.5129 sqrt(alpha)

Over t = ln sigma^2 its slope, with "above" for x > xbar and "below" for the rest, and the slope's slope are

    g(t) = sum_below (1 - x) - alpha sum_above (1 + 1 / tau),  g'(t) = sum_below x - alpha sum_above x / (tau^2 - alpha)

F may have several minima: `chanc.metrics.vb_global` finds the lowest, `chanc.metrics.vb_brent` the one that published
figures rest on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Shape:
    """The constants of an L x M problem, L <= M."""

    small: int
    large: int

    @property
    def alpha(self) -> float:
        """L / M."""
        return self.small / self.large

    @property
    def xbar(self) -> float:
        """The threshold of s^2 / (M sigma^2), with the closed approximation of tau that the paper gives."""
        tau = 2.5129 * math.sqrt(self.alpha)
        return (1 + tau) * (1 + self.alpha / tau)

    @property
    def first_noise(self) -> int:
        """The 0-based index of the largest singular value that the bound of sigma^2 holds to be noise."""
        return math.ceil(self.small / (1 + self.alpha)) - 1


def bounds(values: Array, shape: Shape) -> tuple[Array, Array]:
    """The bounds of sigma^2, [B] each, from c, [B, L] descending; the lower one stays above c's rounding error."""
    high = values.mean(axis=1)
    tail = values[:, shape.first_noise :]
    rounding = shape.small * np.finfo(np.float64).eps * values[:, 0]
    low = np.maximum(np.maximum(tail[:, 0], rounding) / shape.xbar, tail.mean(axis=1))
    return np.minimum(low, high), high


def free_energy(values: Array, variance: Array, shape: Shape) -> Array:
    """F, [B], of c, [B, L] descending, at sigma^2 > 0, [B], less the constant of the c that are zero."""
    x = values / variance[:, None]
    total: Array = x.sum(axis=1) - np.log(np.where(values > 0, x, 1 / variance[:, None])).sum(axis=1)
    signal = x > shape.xbar
    total += np.bincount(np.nonzero(signal)[0], gain(x[signal], shape.alpha), len(values))
    return total


def gain(x: Array, alpha: float) -> Array:
    """What a value above xbar takes from F by being held to be signal: -tau + ln(tau + 1) + alpha ln(tau/alpha + 1)."""
    shifted = x - (1 + alpha)
    tau = (shifted + np.sqrt(shifted**2 - 4 * alpha)) / 2
    answer: Array = np.log(tau + 1) + alpha * np.log(tau / alpha + 1) - tau
    return answer


def slope(values: Array, above: Mask, where: Array, shape: Shape) -> tuple[Array, Array]:
    """g and g' at t = `where`, [B] each, of c, [B, L], with the values `above`, [B, L], taken for signal."""
    alpha = shape.alpha
    x = values * np.exp(-where)[:, None]
    shifted = x - (1 + alpha)
    tau = np.where(above, (shifted + np.sqrt(np.maximum(shifted**2 - 4 * alpha, 0.0))) / 2, 1.0)
    rise = np.where(above, -alpha * (1 + 1 / tau), 1 - x).sum(axis=1)
    bend = np.where(above, -alpha * x / np.where(above, tau**2 - alpha, 1.0), x).sum(axis=1)
    return rise, bend
