"""Shapes of two or three numbers (in the way of RegNet, Radosavovic et al. 2020), scaled to the budget.

    w_g = n_g^beta  (rho where g lies inside a block)  exp(slope (d_g - 1/2))

n_g: the model's width, d_g: the group's place in the network, 0 for the first, 1 for the last. beta = 1 with rho = 1
and slope = 0 are the model's own proportions, beta = 0 are equal widths. A group lies inside a block where one layer
makes its channels; a stream that several layers add to doesn't.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from chanc.study.methods.halving import Halving, Past
from chanc.study.methods.registry import register
from chanc.study.space import Shape as Proportions
from chanc.study.space import Space

BETA = (0.0, 1.5)
"""The power of the model's proportions."""

RHO = 2.0
"""Insides of blocks are up to so many times wider or narrower."""

SLOPE = 1.0
"""The logarithm of the last width over the first one, besides beta, to either side."""


@register("shape")
@dataclass(frozen=True)
class Shape(Halving):
    """Random power, inner factor and slope of the model's proportions; the best of them by successive halving."""

    def suggest(self, space: Space, past: Past, trial: int, draw: int) -> Proportions:
        """Three numbers, drawn uniformly."""
        random = self.random(trial, draw)
        beta, rho = random.uniform(*BETA), math.exp(random.uniform(-1, 1) * math.log(RHO))
        return proportions(space, beta, rho, random.uniform(-SLOPE, SLOPE))


def proportions(space: Space, beta: float, rho: float, slope: float) -> Proportions:
    """The equation above."""
    groups = space.resizable
    last = max(len(groups) - 1, 1)
    return {
        group.id: group.size**beta * (rho if group.inner else 1.0) * math.exp(slope * (place / last - 0.5))
        for place, group in enumerate(groups)
    }
