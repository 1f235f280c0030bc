"""Shapes that need no search: the proportions of a model, widths that are all equal, and random ones."""

from __future__ import annotations

import math

from chanc.study.space import Shape, Space, generator


def uniform(space: Space) -> Shape:
    """The model's own proportions."""
    return {group.id: float(group.size) for group in space.resizable}


def flat(space: Space) -> Shape:
    """All widths equal."""
    return {group.id: 1.0 for group in space.resizable}


def random(space: Space, seed: int, trial: int, spread: float) -> Shape:
    """The model's proportions, each unit times a factor that is drawn log-uniformly from [1/spread, spread]."""
    reach = math.log(spread)
    return {
        group.id: group.size * math.exp(factor)
        for name, groups in space.units.items()
        for factor in [generator(seed, trial, name).uniform(-reach, reach)]
        for group in groups
    }
