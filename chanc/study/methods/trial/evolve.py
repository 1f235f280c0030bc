"""Regularised evolution (Real et al. 2019): the best of a few that are still alive moves cost between two groups.

A mutation widens one unit of groups by a random factor and narrows another one by as much as keeps the cost. Who was
proposed long ago dies, however good it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from chanc.study import shapes
from chanc.study.methods.halving import Halving, Past
from chanc.study.methods.registry import register
from chanc.study.space import Counter, Shape, Space

WIDEN = (0.1, 0.7)
"""The logarithm of the factor by which a mutation widens a unit."""


@register("evolve")
@dataclass(frozen=True)
class Evolve(Halving):
    """Mutate the best of a random few of the living; the best of all by successive halving."""

    population: int = field(default=10, metadata={
        "help": "Networks that live; the first so many are random.", "range": (2, math.inf)})
    tournament: int = field(default=4, metadata={
        "help": "Random ones of them, of which the best has a child.", "range": (1, math.inf)})
    spread: float = field(default=2.0, metadata={
        "help": "Factors are drawn from 1/spread to spread.", "range": (1, 1e3)})

    def suggest(self, space: Space, past: Past, trial: int, draw: int) -> Shape:
        """A random shape while the population is small, then a child of the best of a tournament."""
        random = self.random(trial, draw)
        living = [entry for entry in past.results if entry.worked][-self.population :]
        if len(past.new) < self.population or not living:
            return shapes.random(space, int(random.integers(2**31)), trial, self.spread)
        chosen = random.choice(len(living), size=min(self.tournament, len(living)), replace=False)
        parent = min((living[number] for number in chosen), key=lambda entry: (entry.loss or 0.0, entry.trial))
        return self.mutated(space, parent.widths, random)

    def mutated(self, space: Space, widths: Shape, random: np.random.Generator) -> Shape:
        """The widths with one unit wider and another one narrower, at the same cost."""
        names = [*space.units]
        if len(names) < 2:
            return widths
        taker, giver = (names[number] for number in random.choice(len(names), size=2, replace=False))
        counter: Counter = "macs" if "params" not in self.target.counts(space) else "params"
        wider = _scaled(space, widths, taker, math.exp(random.uniform(*WIDEN)))
        cost = space.count(widths, counter)
        low, high = -math.log(8), 0.0
        for _ in range(30):
            middle = (low + high) / 2
            fits = space.count(_scaled(space, wider, giver, math.exp(middle)), counter) <= cost
            low, high = (middle, high) if fits else (low, middle)
        return _scaled(space, wider, giver, math.exp(low))


def _scaled(space: Space, widths: Shape, unit: str, factor: float) -> dict[str, float]:
    return {**widths, **{group.id: widths[group.id] * factor for group in space.units[unit]}}
