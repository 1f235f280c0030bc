"""The free energy of empirical VBMF over the variance of the noise, of matrices of any shapes side by side.

Nakajima, Sugiyama, Babacan and Tomioka (JMLR 14, 2013). With c_i = s_i^2 / M of an L x M matrix, L <= M, alpha = L / M
and x_i = c_i / sigma^2,

    F(sigma^2) = sum_{x <= xbar} (x - ln x)
               + sum_{x >  xbar} (x - tau + ln((tau + 1) / x) + alpha ln(tau / alpha + 1))
    tau(x) = (x - (1 + alpha) + sqrt((x - (1 + alpha))^2 - 4 alpha)) / 2
    xbar = (1 + t)(1 + alpha / t),  t = 2.5129 sqrt(alpha)

Over t = ln sigma^2 its slope, with "above" for x > xbar and "below" for the rest, and the slope's slope are

    g(t) = sum_below (1 - x) - alpha sum_above (1 + 1 / tau),  g'(t) = sum_below x - alpha sum_above x / (tau^2 - alpha)

Sums over c and ln c are made once; only the values above xbar, often few, are gone through at every t. Each matrix's
sums run over its own values in their order, so that no answer depends on the matrices beside it.

F may have several minima: `chanc.metrics.vb_global` finds the lowest, `chanc.metrics.vb_brent` the one that published
figures rest on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Spectra:
    """Values of B matrices L x M, L <= M.

    values: c, [sum of L], those of each matrix in descending order, one matrix after the other; small, large: L and M,
    [B].
    """

    values: Array
    small: Index
    large: Index

    def __getitem__(self, rows: Index) -> Spectra:
        return Spectra(self.values[stretches(self.starts[rows], self.small[rows])], self.small[rows], self.large[rows])

    def __len__(self) -> int:
        return len(self.small)

    def over(self, numbers: Array) -> Array:
        """A number of each matrix, [B], beside each of its values."""
        return np.repeat(numbers, self.small)

    @cached_property
    def starts(self) -> Index:
        """Where the values of each matrix begin, [B]."""
        return np.cumsum(self.small) - self.small

    @cached_property
    def alpha(self) -> Array:
        """L / M, [B]."""
        return self.small / self.large

    @cached_property
    def xbar(self) -> Array:
        """The threshold of s^2 / (M sigma^2), [B], with the closed approximation of tau that the paper gives."""
        tau = 2.5129 * np.sqrt(self.alpha)
        xbar: Array = (1 + tau) * (1 + self.alpha / tau)
        return xbar

    @cached_property
    def first_noise(self) -> Index:
        """The 0-based index of the largest singular value that the bound of sigma^2 holds to be noise, [B]."""
        return np.ceil(self.small / (1 + self.alpha)).astype(np.intp) - 1

    @cached_property
    def logs(self) -> Array:
        """The sum of ln c over the c that are not zero, [B]."""
        return self._by_matrix(lambda own: np.log(own[own > 0]).sum(keepdims=True))

    def tail(self, row: Index, first: Index) -> Array:
        """The sum of matrix `row`'s values from index `first` on, [P]."""
        sums: Array = self._tails[self.starts[row] + row + first]
        return sums

    @cached_property
    def _tails(self) -> Array:
        """Sums from each value on and, at each matrix's end, a zero, added up from the smallest: [sum of (L + 1)]."""
        return self._by_matrix(lambda own: np.append(np.cumsum(own[::-1])[::-1], 0.0))

    def _by_matrix(self, of: Callable[[Array], Array]) -> Array:
        return np.concatenate([of(own) for own in np.split(self.values, self.starts[1:])])


def stretches(starts: Index, counts: Index) -> Index:
    """The indices start, start + 1, ..., `count` of them each, one stretch after the other."""
    return np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)


def bounds(spectra: Spectra) -> tuple[Array, Array]:
    """The bounds of sigma^2, [B] each; the lower one stays above c's rounding error."""
    rows, first = np.arange(len(spectra)), spectra.first_noise
    high = spectra.tail(rows, np.zeros_like(rows)) / spectra.small
    rounding = spectra.small * np.finfo(np.float64).eps * spectra.values[spectra.starts]
    noise = np.maximum(spectra.values[spectra.starts + first], rounding) / spectra.xbar
    low = np.maximum(noise, spectra.tail(rows, first) / (spectra.small - first))
    return np.minimum(low, high), high


def above(spectra: Spectra, row: Index, variance: Array) -> Index:
    """How many values of matrix `row` lie above xbar at sigma^2 > 0, [P]."""
    small = spectra.small[row]
    signal = spectra.values[stretches(spectra.starts[row], small)] > np.repeat(spectra.xbar[row] * variance, small)
    count: Index = np.add.reduceat(signal, np.cumsum(small) - small, dtype=np.intp)
    return count


def free_energy(spectra: Spectra, row: Index, variance: Array) -> Array:
    """F of matrix `row` at sigma^2 > 0, [P], less the constant of the c that are zero."""
    return Held(spectra, row, above(spectra, row, variance)).energy(np.log(variance))


class Held:
    """F of matrices `row`, [P], as a smooth function of t, each with its `count` largest values, [P], above xbar."""

    def __init__(self, spectra: Spectra, row: Index, count: Index) -> None:
        self._small, self._logs = spectra.small[row], spectra.logs[row]
        self._sum, self._noise = spectra.tail(row, np.zeros_like(count)), spectra.tail(row, count)
        self._alpha, self._count = spectra.alpha[row], count
        self._entry = np.repeat(np.arange(len(row)), count)
        self._alphas = self._alpha[self._entry]
        self._signal = spectra.values[stretches(spectra.starts[row], count)]

    def energy(self, where: Array) -> Array:
        """F at t = `where`, [P], less the constant of the c that are zero."""
        _, tau = self._x_tau(where)
        # What a value takes from F by being held to be signal.
        gain = np.log(tau + 1) + self._alphas * np.log(tau / self._alphas + 1) - tau
        return self._sum * np.exp(-where) - self._logs + self._small * where + self._total(gain)

    def slope(self, where: Array) -> tuple[Array, Array]:
        """g and g' at t = `where`, [P] each."""
        x, tau = self._x_tau(where)
        below = self._noise * np.exp(-where)
        rise = self._small - self._count - below - self._alpha * (self._count + self._total(1 / tau))
        bend = below - self._alpha * self._total(x / (tau**2 - self._alphas))
        return rise, bend

    def _x_tau(self, where: Array) -> tuple[Array, Array]:
        x = self._signal * np.exp(-where)[self._entry]
        shifted = x - (1 + self._alphas)
        return x, (shifted + np.sqrt(shifted**2 - 4 * self._alphas)) / 2

    def _total(self, terms: Array) -> Array:
        """Sums of terms of the values above xbar, [P]."""
        return np.bincount(self._entry, terms, len(self._count)).astype(np.float64, copy=False)
