"""A smooth surface through noisy losses: a Gaussian process (Rasmussen and Williams 2006, chapters 2 and 5).

    k(x, x') = exp(-|x - x'|^2 / 2 l^2),   y = f(x) + noise,   f ~ GP(mean of y, s^2 k),   noise ~ N(0, r s^2)

Length l and ratio r are the most likely of a few, the scale s is the most likely one for them. A training is one draw
of a noisy loss: what its neighbours reached says as much of a network as its own number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LENGTHS = (0.7, 1.2, 2.0, 4.0)
RATIOS = (1e-3, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Surface:
    """What is believed of a function after some noisy values.

    points: [n, d]. factor: [n, n], lower, of the covariance over s^2. weights: [n]. mean, scale: of the values.
    """

    points: Array
    factor: Array
    weights: Array
    length: float
    mean: float
    scale: float

    def expected(self, points: Array) -> Array:
        """The mean at [m, d]: [m]."""
        offset: Array = _kernel(points, self.points, self.length) @ self.weights
        return self.mean + offset

    def spread(self, points: Array) -> Array:
        """The standard deviation of the function (not of a noisy value of it) at [m, d]: [m]."""
        explained = np.linalg.solve(self.factor, _kernel(self.points, points, self.length))
        left: Array = np.maximum(0.0, 1.0 - (explained**2).sum(axis=0))
        return self.scale * np.sqrt(left)


def surface(points: Array, values: Array) -> Surface:
    """The most likely surface for values [n] at points [n, d], n >= 1, coordinates of the order of one."""
    return max((_fit(points, values, length, ratio) for length in LENGTHS for ratio in RATIOS), key=lambda it: it[0])[1]


def _fit(points: Array, values: Array, length: float, ratio: float) -> tuple[float, Surface]:
    """The logarithm of the likelihood (but for a constant), and the surface."""
    count, mean = len(values), float(values.mean())
    factor: Array = np.asarray(np.linalg.cholesky(_kernel(points, points, length) + ratio * np.eye(count)), np.float64)
    weights = np.linalg.solve(factor.T, np.linalg.solve(factor, values - mean))
    variance = max(float((values - mean) @ weights) / count, 1e-12)
    likelihood = -0.5 * count * np.log(variance) - float(np.log(np.diag(factor)).sum())
    return likelihood, Surface(points, factor, weights, length, mean, float(np.sqrt(variance)))


def _kernel(left: Array, right: Array, length: float) -> Array:
    square = ((left[:, None, :] - right[None, :, :]) ** 2).sum(axis=-1)
    kernel: Array = np.exp(-square / (2 * length**2))
    return kernel
