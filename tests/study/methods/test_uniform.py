from __future__ import annotations

import pytest

from chanc.study.methods.protocol import Measurement
from chanc.study.methods.trial.uniform import Uniform
from chanc.testing.halving import fine_space
from chanc.testing.samplers import SamplerContract, example_space


class TestUniformContract(SamplerContract):
    def sampler(self, **options: int) -> Uniform:
        return Uniform(**options)


class TestUniformTargetContract(SamplerContract):
    def sampler(self, **options: int) -> Uniform:
        return Uniform(target_macs=1_500_000, **options)


def test_ladder_of_factors() -> None:
    space, sampler = example_space(), Uniform(trials=3, low=0.5, high=2.0)
    assert [sampler.draw(space, trial) for trial in range(3)] == [
        {"a": 16, "b": 32, "c": 24},
        {"a": 32, "b": 64, "c": 48},
        {"a": 64, "b": 128, "c": 96},
    ]


@pytest.mark.parametrize("target", [30_000, 100_000, 250_000])
def test_target_params_is_hit_within_one_step(target: int) -> None:
    space = fine_space()
    widths = Uniform(target_params=target, round_to=1).draw(space, 0)
    assert abs(space.count(widths, "params") / target - 1) < 0.01
    assert widths["b"] / widths["a"] == pytest.approx(2, rel=0.06)


def test_a_share_of_what_the_model_has() -> None:
    space = fine_space()
    own = space.count(space.widths, "macs")
    widths = Uniform(target_macs="25%", round_to=1).draw(space, 0)
    assert space.count(widths, "macs") == pytest.approx(own / 4, rel=0.01)


def test_two_targets_are_ceilings_of_one_factor() -> None:
    space = fine_space()
    widths = Uniform(target_params=80_000, target_macs=64 * 30_000).draw(space, 0)
    assert 0.95 * 30_000 < space.count(widths, "params") <= 30_000


@pytest.mark.parametrize("bad", ["0%", "half", -3, 0])
def test_a_bad_target_is_told(bad: object) -> None:
    with pytest.raises(ValueError, match=r"target_params .* is neither a number above 0 nor a share such as 25%"):
        Uniform(target_params=bad)  # type: ignore[arg-type]


def test_a_latency_stands_alone() -> None:
    with pytest.raises(ValueError, match="target_latency goes with no other target"):
        Uniform(target_params=1000, target_latency=2.0)


def test_best_has_the_highest_top1() -> None:
    space, sampler = example_space(), Uniform(trials=4)
    widths, state = sampler.start(space)
    history = []
    for trial, top1 in enumerate([0.3, 0.7, 0.5, 0.1]):
        history.append(widths)
        proposal = sampler.propose(space, state, Measurement(trial, widths, {}, score=top1))
        widths, state = proposal.widths or {}, proposal.state
    assert sampler.best(state) == history[1]
