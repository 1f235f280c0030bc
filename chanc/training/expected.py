"""What a network costs whose widths are random, and how much that counts beside the loss.

    E[prod_u f_u^p_u] = prod_u E[f_u^p_u]      units are independent; one that meets itself has its E[f^2], not E[f]^2

    fixed:  lambda cost / cost at the start,  or lambda |log(cost / target)|
    dual:   lambda gap + 1/2 rho gap^2,  gap = log(cost / target),  lambda += rate gap after each step

The dual's lambda may have either sign: what a search is told is what its network shall cost, not a ceiling. Further off
than `reach` the gap counts as if it were that large, in the gradient and for lambda: on a long way to its target a
search else learns a lambda that takes as long to unlearn, and Adam's second moments no other gradient stands out from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from chanc.cost.polynomial import Polynomial


class Cost(Protocol):
    """A cost of widths; `degree` is the highest power of one that it asks for."""

    degree: int

    def __call__(self, moments: Tensor) -> Tensor:
        """The cost from the moments E[f_u^p] of the units' widths, [units, powers from 0 on]."""


class Expected:
    """The expectation of a polynomial in the widths of units, which are its symbols; `degree` is the highest power."""

    def __init__(self, polynomial: Polynomial | float, device: torch.device) -> None:
        terms = polynomial.terms if isinstance(polynomial, Polynomial) else {(): float(polynomial)}
        powers = [sorted(Counter(key).items()) for key in terms]
        self.degree = max((power for of in powers for _, power in of), default=0)
        longest = max(map(len, powers))
        padded = [[*of, *[(0, 0)] * (longest - len(of))] for of in powers]
        places = torch.tensor(padded, dtype=torch.int64, device=device).reshape(len(powers), longest, 2)
        self._unit, self._power = places.unbind(2)
        self._coefficients = torch.tensor([*terms.values()], dtype=torch.float64, device=device)

    def __call__(self, moments: Tensor) -> Tensor:
        """The value at these moments."""
        return self._coefficients @ moments[self._unit, self._power].prod(1)


@dataclass(frozen=True)
class Pressure:
    """What the cost adds to the loss: weights by cost, fixed ones or, where None, a dual that follows the gap.

    targets: by cost, empty for none. rate, damping, reach: of the dual.
    """

    targets: Mapping[str, float]
    weight: float | None = None
    rate: float = 0.01
    damping: float = 10.0
    reach: float = 0.1


class Price:
    """The pressure of some costs, with the state of its duals."""

    def __init__(self, costs: Mapping[str, Callable[[Tensor], Tensor]], pressure: Pressure, start: Tensor) -> None:
        """`start`: the moments at which the costs stand at the start."""
        self.costs, self.pressure = costs, pressure
        with torch.no_grad():
            self._scale = {name: pressure.targets.get(name, float(cost(start))) for name, cost in costs.items()}
        first = 0.0 if pressure.weight is None else pressure.weight
        self.weights = {name: start.new_tensor(first) for name in costs}

    def __call__(self, moments: Tensor) -> Tensor:
        """What is added to the loss, up to a constant; a dual's weight has followed afterwards."""
        total = moments.new_zeros(())
        for name, cost in self.costs.items():
            relative = cost(moments) / self._scale[name]
            total = total + self._term(name, relative)
        return total

    def _term(self, name: str, relative: Tensor) -> Tensor:
        weight, pressure = self.weights[name], self.pressure
        if name not in pressure.targets:
            return weight * relative
        gap = relative.log()
        if pressure.weight is not None:
            return weight * gap.abs()
        near = gap.detach().clamp(-pressure.reach, pressure.reach)
        self.weights[name] = weight + pressure.rate * near
        return (weight + pressure.damping * near) * gap
