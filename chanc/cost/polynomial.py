"""What a model costs as a polynomial in its widths: counted once with symbols, then a few microseconds a price.

Sizes are linear in the widths, and a cost is a sum of products of sizes: a cost of widths that are polynomials is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Terms = dict[tuple[int, ...], float]
"""Coefficients by the numbers of the symbols that are multiplied, sorted; () is the constant."""


@dataclass(frozen=True, eq=False)
class Polynomial:
    """A sum of products of symbols, which are numbered from 0; it adds and multiplies, and is divided by numbers."""

    terms: Terms

    @classmethod
    def symbol(cls, number: int) -> Polynomial:
        """One symbol."""
        return cls({(number,): 1.0})

    def __add__(self, other: Polynomial | float) -> Polynomial:
        total = dict(self.terms)
        for key, value in _terms(other).items():
            total[key] = total.get(key, 0.0) + value
        return Polynomial(total)

    def __mul__(self, other: Polynomial | float) -> Polynomial:
        total: Terms = {}
        for one, left in self.terms.items():
            for two, right in _terms(other).items():
                key = tuple(sorted(one + two))
                total[key] = total.get(key, 0.0) + left * right
        return Polynomial(total)

    def __truediv__(self, number: float) -> Polynomial:
        return self * (1.0 / number)

    __radd__ = __add__
    __rmul__ = __mul__


@dataclass(frozen=True)
class Compiled:
    """A polynomial as arrays. factors: [terms, degree], 1 + the symbol's number, 0 stands for one; weights: [terms]."""

    factors: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]

    @classmethod
    def of(cls, polynomial: Polynomial) -> Compiled:
        """The arrays of a polynomial."""
        terms = polynomial.terms or {(): 0.0}
        degree = max(map(len, terms))
        rows = [[*(number + 1 for number in key), *[0] * (degree - len(key))] for key in terms]
        return cls(np.array(rows, dtype=np.int64).reshape(len(terms), degree), np.array([*terms.values()]))

    def __call__(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Its value where the symbols, in the order of their numbers, have these: [symbols] or [symbols, cases]."""
        padded = np.concatenate([np.ones_like(values[:1]), values])
        found: npt.NDArray[np.float64] = self.weights @ padded[self.factors].prod(axis=1)
        return found


def _terms(value: Polynomial | float) -> Terms:
    return value.terms if isinstance(value, Polynomial) else {(): float(value)}
