from __future__ import annotations

from typing import Any

import numpy as np

from chanc.study.methods.trial.evolve import Evolve
from chanc.testing.halving import HalvingContract, fine_space, narrow_middle, play


class TestEvolveContract(HalvingContract):
    def method(self, **options: Any) -> Evolve:
        return Evolve(**options)


def test_a_mutation_moves_cost_between_two_groups() -> None:
    space, method = fine_space(), Evolve()
    before = {gid: float(width) for gid, width in space.widths.items()}
    for seed in range(10):
        after = method.mutated(space, before, np.random.default_rng(seed))
        moved = sorted(after[gid] / before[gid] for gid in before)
        assert moved[0] < moved[1] == 1 < moved[2]
        assert abs(space.count(after, "params") / space.count(before, "params") - 1) <= 0.01


def test_the_old_die_and_the_better_have_children() -> None:
    """Selection works: late networks are better than the random ones at the start."""
    gains = []
    for seed in range(3):
        losses = [narrow_middle(trial) for trial in play(Evolve(seed=seed, trials=60, rungs=1, round_to=1))[0]]
        gains.append(sum(losses[2:12]) / 10 - sum(losses[-10:]) / 10)
    assert min(gains) > 0
