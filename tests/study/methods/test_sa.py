from __future__ import annotations

import math

import pytest

from chanc.study.methods.trial.greedy import Greedy
from chanc.study.methods.trial.sa import SimulatedAnnealing
from chanc.study.space import generator
from chanc.testing.samplers import SamplerContract


class TestAnnealingContract(SamplerContract):
    def sampler(self, **options: int) -> SimulatedAnnealing:
        return SimulatedAnnealing(**options)


class TestAnnealingPaperContract(SamplerContract):
    def sampler(self, **options: int) -> SimulatedAnnealing:
        return SimulatedAnnealing(zeta="alpha-squared", **options)


def test_golden_zeta() -> None:
    sampler = SimulatedAnnealing(trials=36)
    assert sampler.temperature(0) == 5
    assert sampler.temperature(17) == pytest.approx(5 * 19 / 36)
    assert sampler.acceptance(0.3, sampler.temperature(0)) == pytest.approx(0.513417, abs=5e-7)
    assert sampler.acceptance(0.3, sampler.temperature(17)) == pytest.approx(0.282760, abs=5e-7)


def test_zeta_takes_the_size_of_the_change_only() -> None:
    sampler = SimulatedAnnealing()
    assert sampler.acceptance(-0.3, 5.0) == sampler.acceptance(0.3, 5.0)
    assert sampler.acceptance(0.0, 5.0) == 0.0
    assert sampler.acceptance(0.3, sampler.temperature(sampler.trials)) == 0.0


def test_paper_zeta_has_alpha_twice_and_accepts_every_fall() -> None:
    sampler = SimulatedAnnealing(zeta="alpha-squared")
    assert sampler.acceptance(0.3, 5.0) == pytest.approx(math.exp(-1 / (5 * 0.3 * 5)))
    assert sampler.acceptance(-0.01, 5.0) == 1.0


def test_pushed_exactly_where_the_draw_is_below_zeta() -> None:
    sampler = SimulatedAnnealing(seed=7)
    groups = [f"layer{i}" for i in range(200)]
    zeta = sampler.acceptance(0.3, sampler.temperature(4))
    pushed = [gid for gid in groups if sampler.adjust(0.3, 4, gid) != 0.3]
    assert pushed == [gid for gid in groups if generator(7, 4, gid).random() < zeta]
    assert sampler.adjust(0.3, 4, pushed[0]) == pytest.approx(0.3 + zeta)
    assert abs(len(pushed) / 200 - zeta) < 0.12


def test_greedy_where_the_temperature_is_zero() -> None:
    assert SimulatedAnnealing(alpha=0.0).adjust(0.2, 3, "a") == Greedy().adjust(0.2, 3, "a") == 0.2
