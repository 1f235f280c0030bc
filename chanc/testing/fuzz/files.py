"""The files of a run: file k of a seed is the same whenever it is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chanc.testing.fuzz.data import damage, garble_name, nest
from chanc.testing.fuzz.mutations import MUTATIONS
from chanc.testing.fuzz.seeds import seeds
from chanc.testing.fuzz.values import pick

_COUNTS = (1, 1, 1, 1, 1, 1, 2, 2, 3, 5)
"""How many mutations one model gets; most are refused at the door after a few."""

_BYTES, _DEEP, _GARBLED = 0.15, 0.02, 0.03
"""Shares of the files whose bytes are damaged, that hold bodies in bodies, that have a name that is no text."""


@dataclass(frozen=True)
class Mutant:
    """A mutated model: its number, what was done to which seed, and its bytes."""

    number: int
    made: str
    data: bytes


def mutant(seed: int, number: int) -> Mutant:
    """File `number` of a seed."""
    rng = np.random.default_rng([seed, number])
    name = pick(rng, list(seeds()))
    model = type(seeds()[name])()
    model.CopyFrom(seeds()[name])
    if rng.random() < _BYTES:
        return Mutant(number, f"{name}: bytes", damage(model.SerializeToString(), rng))
    table = [mutation for mutation, weight in MUTATIONS for _ in range(weight)]
    chosen = [pick(rng, table) for _ in range(pick(rng, _COUNTS))]
    for mutation in chosen:
        mutation(model, rng)
    said = f"{name}: {', '.join(mutation.__name__ for mutation in chosen)}"
    data = model.SerializeToString()
    if rng.random() < _DEEP:
        return Mutant(number, f"{said}, nest", nest(data, rng))
    if rng.random() < _GARBLED and model.graph.node:
        node = pick(rng, list(model.graph.node))
        return Mutant(number, f"{said}, garble_name", garble_name(data, pick(rng, [*node.output, node.op_type]), rng))
    return Mutant(number, said, data)
