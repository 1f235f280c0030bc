"""Shapes of two or three numbers (in the way of RegNet, Radosavovic et al. 2020), scaled to the budget.

    w_g = n_g^beta  (rho where g lies inside a block)  exp(slope (d_g - 1/2))

n_g: the model's width, d_g: the group's place in the network, 0 for the first, 1 for the last. beta = 1 with rho = 1
and slope = 0 are the model's own proportions, beta = 0 are equal widths. A group lies inside a block where one layer
makes its channels; a stream that several layers add to doesn't.

One short training is a noisy judge. All of them together say how the loss depends on the three numbers (`surface`):
by that the networks are ranked, and that is where new ones are looked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chanc.study.methods.halving import Entry, Halving, Past
from chanc.study.methods.registry import register
from chanc.study.methods.surface import Array, surface
from chanc.study.space import Shape as Proportions
from chanc.study.space import Space

BETA = (0.0, 1.5)
"""The power of the model's proportions."""

RHO = 2.0
"""Insides of blocks are up to so many times wider or narrower."""

SLOPE = 1.0
"""The logarithm of the last width over the first one, besides beta, to either side."""


EXPLORED = 5
"""So many networks of the first rung have a loss before the surface is asked where to look."""

CANDIDATES = 64
"""Of so many random shapes the most promising one is proposed."""


@register("shape")
@dataclass(frozen=True)
class Shape(Halving):
    """Power, inner factor and slope of the model's proportions; successive halving over a surface of their losses."""

    def suggest(self, space: Space, past: Past, trial: int, draw: int) -> Proportions:
        """Three random numbers; later those of many that promise the lowest loss, by mean less standard deviation."""
        random = self.random(trial, draw)
        seen = [entry for entry in past.results if entry.worked]
        if len(seen) < EXPLORED:
            return proportions(space, *_numbers(random))
        known = surface(np.array([coordinates(space, entry.widths) for entry in seen]),
                        np.array([entry.loss for entry in seen]))  # fmt: skip
        offered = [proportions(space, *_numbers(random)) for _ in range(CANDIDATES)]
        points = np.array([coordinates(space, shape) for shape in offered])
        return offered[int(np.argmin(known.expected(points) - known.spread(points)))]

    def merits(self, space: Space, past: Past) -> Mapping[int, float]:
        """The loss that the surface expects of each entry, if all had been trained as long as those of the first rung.

        The losses of a later rung come up to the first one's by what their networks have gained since, on average.
        """
        entries = [entry for entry in past.entries if entry.worked]
        if len(entries) < EXPLORED:
            return {}
        gained = _gained(entries)
        points = np.array([coordinates(space, entry.widths) for entry in entries])
        losses = np.array([(entry.loss or 0.0) + gained[entry.rung] for entry in entries])
        expected = surface(points, losses).expected(points)
        return {entry.trial: float(value) for entry, value in zip(entries, expected, strict=True)}


def _numbers(random: np.random.Generator) -> tuple[float, float, float]:
    """beta, rho and slope, drawn uniformly (rho: its logarithm)."""
    beta, rho = random.uniform(*BETA), math.exp(random.uniform(-1, 1) * math.log(RHO))
    return beta, rho, random.uniform(-SLOPE, SLOPE)


def _gained(entries: list[Entry]) -> dict[int, float]:
    """By rung: how far the losses of its networks fell since the first one, on average."""
    losses = {entry.trial: entry.loss or 0.0 for entry in entries}
    first: dict[int | None, float] = {}
    falls: dict[int, list[float]] = {0: [0.0]}
    for entry in entries:
        first[entry.trial] = first[entry.parent] if entry.parent in first else losses[entry.trial]
        falls.setdefault(entry.rung, []).append(first[entry.trial] - losses[entry.trial])
    return {rung: float(np.mean(of)) for rung, of in falls.items()}


def coordinates(space: Space, widths: Proportions) -> Array:
    """beta, log rho and slope of any widths, by least squares over log w_g, each about -1 to 1 over its range: [3]."""
    groups = space.resizable
    places = np.arange(len(groups)) / max(len(groups) - 1, 1) - 0.5
    columns = np.stack([np.ones(len(groups)), np.log([group.size for group in groups]),
                        [float(group.inner) for group in groups], places], axis=1)  # fmt: skip
    wanted = np.log([widths[group.id] for group in groups])
    _, beta, rho, slope = np.linalg.lstsq(columns, wanted, rcond=None)[0]
    middle, half = sum(BETA) / 2, (BETA[1] - BETA[0]) / 2
    return np.array([(beta - middle) / half, rho / math.log(RHO), slope / SLOPE])


def proportions(space: Space, beta: float, rho: float, slope: float) -> Proportions:
    """The equation above."""
    groups = space.resizable
    last = max(len(groups) - 1, 1)
    return {
        group.id: group.size**beta * (rho if group.inner else 1.0) * math.exp(slope * (place / last - 0.5))
        for place, group in enumerate(groups)
    }
