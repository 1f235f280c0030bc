"""What a network costs whose widths are random, and what that does to a step of its widths.

    E[prod_u f_u^p_u] = prod_u E[f_u^p_u]      units are independent; one that meets itself has its E[f^2], not E[f]^2

    fixed:  the loss has  lambda cost / cost at the start,  or  lambda |log(cost / target)|  besides
    held:   of all steps d that change each gap = log(cost / target) by -SHARE gap, the one nearest to the optimizer's

The second has no lambda to tune or to wait for: it is the multiplier of S d = -SHARE gap, from one small system of
equations, and of either sign (what a search is told is what its network shall cost, not a ceiling):

    min 1/2 (d - step)^T P^-1 (d - step)   gives   d = step - P S^T lambda,   (S P S^T) lambda = S step + SHARE gap

P is the optimizer's own scale of each number, so at rest every unit's slope of the loss is lambda times that of the
cost, whatever the noise of its gradient. Further off than `REACH` a gap counts as if it were that large.
"""

from __future__ import annotations

import math
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


SHARE, REACH = 0.3, 0.1
"""Of a gap, what a step closes, and the largest that counts."""
RIDGE = 1e-3
"""Added to the diagonal, of the trace: two costs that ask for the same shall not blow up each other's multipliers."""
FURTHEST = 2.0
"""A step that holds a cost moves nothing further than so many learning rates."""
PASSES = 4
"""How often what some can't move any further is handed on to the others."""


@dataclass(frozen=True)
class Pressure:
    """What the cost does. targets: by cost, empty for none. weight: a fixed lambda; None: the targets are held."""

    targets: Mapping[str, float]
    weight: float | None = None

    @property
    def held(self) -> tuple[str, ...]:
        """The costs that are held to their targets."""
        return tuple(self.targets) if self.weight is None else ()


class Price:
    """The pressure of some costs."""

    def __init__(self, costs: Mapping[str, Callable[[Tensor], Tensor]], pressure: Pressure, start: Tensor) -> None:
        """`start`: the moments at which the costs stand at the start."""
        self.costs, self.pressure = costs, pressure
        with torch.no_grad():
            self._scale = {name: pressure.targets.get(name, float(cost(start))) for name, cost in costs.items()}

    def __call__(self, moments: Tensor) -> Tensor:
        """What is added to the loss, up to a constant: nothing of costs that are held."""
        total = moments.new_zeros(())
        if (weight := self.pressure.weight) is None:
            return total
        for name, cost in self.costs.items():
            relative = cost(moments) / self._scale[name]
            total = total + weight * (relative.log().abs() if name in self.pressure.targets else relative)
        return total

    def gaps(self, moments: Tensor) -> list[Tensor]:
        """log(cost / target) of each cost that is held."""
        return [(self.costs[name](moments) / self._scale[name]).log() for name in self.pressure.held]


def certain(widths: Tensor, degree: int) -> Tensor:
    """The moments of widths [units] that are known, [units, degree + 1]."""
    return torch.stack([widths**power for power in range(degree + 1)], 1)


def level(price: Price, widths: Tensor, degree: int) -> float:
    """The factor of all widths [units] that meets the held costs on average (of their gaps); 1 where none is held.

    By bisection of its logarithm, for costs only rise; within a thousandth and a thousand.
    """
    if not price.pressure.held:
        return 1.0
    low, high = -math.log(1e3), math.log(1e3)
    while high - low > 1e-6:
        middle = (low + high) / 2
        above = float(torch.stack(price.gaps(certain(math.exp(middle) * widths, degree))).sum()) > 0
        low, high = (low, middle) if above else (middle, high)
    return math.exp(low)


def held(step: Tensor, slopes: Tensor, gaps: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The step nearest to `step` [numbers] that closes a share of the gaps [costs], and the multipliers [costs].

    slopes: of the gaps, [costs, numbers]; scale: P of the head of this file; low, high: how far each number may move,
    [numbers]: where that is in the way the others do more.
    """
    due = SHARE * gaps.clamp(-REACH, REACH)
    found, free, multipliers = step, torch.ones_like(step), torch.zeros_like(gaps)
    for _ in range(PASSES):
        moving = scale * free
        system = (slopes * moving) @ slopes.T
        system.diagonal().add_(RIDGE * system.trace() + torch.finfo(system.dtype).tiny)
        known = torch.where(free > 0, step, found)
        solved = torch.linalg.solve_ex(system, slopes @ known + due).result  # no wait for the device
        multipliers = torch.where((free > 0).any(), solved, multipliers)
        wanted = torch.where(free > 0, step - moving * (multipliers @ slopes), found)
        found = torch.maximum(torch.minimum(wanted, high), low)
        free = free * (found == wanted)
    return found, multipliers
