from __future__ import annotations

import pytest

from chanc.study.methods.trial.random import Random
from chanc.testing.samplers import SamplerContract, example_space


class TestRandomContract(SamplerContract):
    def sampler(self, **options: int) -> Random:
        return Random(**options)


def test_draws_differ_and_cost_the_target() -> None:
    space, sampler = example_space(), Random(target_params=60_000, seed=1)
    draws = [sampler.draw(space, trial) for trial in range(12)]
    assert len({tuple(draw.values()) for draw in draws}) >= 10
    for draw in draws:
        assert space.count(draw, "params") == pytest.approx(60_000, rel=0.04)


def test_target_is_the_models_own_size_by_default() -> None:
    space = example_space()
    own = space.count(space.widths, "params")
    assert space.count(Random().draw(space, 0), "params") == pytest.approx(own, rel=0.04)


def test_seed_and_trial_decide() -> None:
    space = example_space()
    assert Random(seed=1).draw(space, 0) != Random(seed=2).draw(space, 0)
    assert Random(seed=1).draw(space, 5) == Random(seed=1).draw(space, 5)
