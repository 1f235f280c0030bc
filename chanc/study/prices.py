"""What widths of a model cost, fast enough to be asked a thousand times for one trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chanc.cost.polynomial import Compiled, Polynomial
from chanc.study.space import Price

if TYPE_CHECKING:
    from chanc.analysis import Analysis


@dataclass(frozen=True)
class Total:
    """Parameters and MACs for one input; whole numbers at legal widths, arrays of them at arrays of widths."""

    params: Any
    macs: Any


@dataclass(frozen=True)
class Formula:
    """Prices by polynomials in the widths of the groups of `order`; a group that isn't named has its own width."""

    order: Mapping[str, int]
    params: Compiled
    macs: Compiled

    def __call__(self, widths: Mapping[str, float]) -> Total:
        """The price at these widths, rounded; widths may be arrays of as many cases each."""
        given = [widths.get(name, own) for name, own in self.order.items()]
        if any(isinstance(width, np.ndarray) for width in given):
            values = np.stack(np.broadcast_arrays(*given)).astype(float)
            return Total(np.rint(self.params(values)), np.rint(self.macs(values)))
        values = np.array(given, dtype=float)
        return Total(round(float(self.params(values))), round(float(self.macs(values))))


def prices(analysis: Analysis) -> Callable[[Mapping[str, float]], Price]:
    """The price of any widths: a formula, or the count itself where a cost is no polynomial in them."""
    own = {group.id: group.size for group in analysis.groups if group.resizable}
    others = {group.id: group.size + (1 + at % 3) * group.step for at, group in enumerate(analysis.groups)
               if group.resizable}  # fmt: skip
    try:
        counted = analysis.cost_at({name: Polynomial.symbol(at) for at, name in enumerate(own)})
    except (TypeError, ValueError, ArithmeticError):
        return analysis.cost_at
    formula = Formula(own, _compiled(counted.params), _compiled(counted.macs))
    for widths in (own, others):
        exact = analysis.cost_at(widths)
        if formula(widths) != Total(exact.params, exact.macs):
            return analysis.cost_at
    return formula


def _compiled(count: Polynomial | float) -> Compiled:
    return Compiled.of(count if isinstance(count, Polynomial) else Polynomial({(): float(count)}))
