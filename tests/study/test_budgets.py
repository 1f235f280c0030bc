from __future__ import annotations

import dataclasses

import pytest

from chanc.errors import RunError
from chanc.study.budgets import NEAR, PROBES, Budget, Target
from chanc.study.space import Limits, Widths
from chanc.testing.halving import fine_space
from chanc.testing.samplers import example_space

SPACE, LIMITS = example_space(), Limits(min_width=2)


def test_widths_that_fit_are_left_alone() -> None:
    widths = {"a": 22, "b": 34, "c": 24}
    budget = Budget(max_params=SPACE.count(widths, "params"), max_macs=SPACE.count(widths, "macs"))
    assert budget.project(SPACE, LIMITS, widths) == widths
    assert Budget().project(SPACE, LIMITS, widths) == widths


@pytest.mark.parametrize("share", [0.9, 0.5, 0.2])
def test_too_dear_widths_shrink_in_proportion(share: float) -> None:
    widths = {"a": 200, "b": 100, "c": 120}
    bound = int(share * SPACE.count(widths, "params"))
    found = Budget(max_params=bound).project(SPACE, LIMITS, widths)
    assert SPACE.count(found, "params") <= bound
    assert SPACE.count(found, "params") > 0.8 * bound
    assert found["a"] / found["b"] == pytest.approx(2, rel=0.1)
    assert found["c"] % 12 == 0


def test_both_counted_bounds_hold() -> None:
    widths = {"a": 200, "b": 100, "c": 120}
    found = Budget(max_params=90_000, max_macs=64 * 30_000).project(SPACE, LIMITS, widths)
    assert SPACE.count(found, "macs") <= 64 * 30_000


def test_latency_is_measured_and_kept() -> None:
    timed = []

    def latency(widths: dict[str, int]) -> float:
        timed.append(widths)
        return SPACE.count(widths, "params") * 1e-8

    widths = {"a": 200, "b": 100, "c": 120}
    found = Budget(max_latency=0.5).project(SPACE, LIMITS, widths, latency)
    assert 0.7 * 50_000 < SPACE.count(found, "params") <= 50_000
    assert len(timed) <= 8
    assert Budget(max_latency=50).project(SPACE, LIMITS, widths, latency) == widths


def test_impossible_budget_is_refused() -> None:
    Budget(max_params=10**6).check(SPACE, LIMITS)
    with pytest.raises(RunError, match=r"the budget of 100 params can't be met: the smallest widths allowed cost"):
        Budget(max_params=100).check(SPACE, LIMITS)


def test_a_target_out_of_reach_is_refused() -> None:
    Target(params=50_000).check(SPACE, LIMITS)
    for target in (Target(params=100), Target(params="50%", macs=10**15)):
        with pytest.raises(RunError, match=r"can't be met: the widths allowed cost .* \(see --min-width and"):
            target.check(SPACE, LIMITS)


def test_shares_are_of_what_the_model_has() -> None:
    own = SPACE.count(SPACE.widths, "params")
    assert Target(params="50%", macs=1000).counts(SPACE) == {"params": own / 2, "macs": 1000}


@pytest.mark.parametrize("target", [1.0, 0.1, "40%", "250%"])
def test_a_latency_is_met_in_a_few_probes(target: float | str) -> None:
    """As slow as a network that costs a fixed time besides its work."""
    timed = []

    def latency(widths: Widths) -> float:
        timed.append(widths)
        return 2e-5 + space.count(widths, "params") * 1e-8

    space = fine_space()
    wanted = target if isinstance(target, float) else float(target[:-1]) / 100 * latency(space.widths) * 1e3
    timed.clear()
    found = Target(latency=target).project(space, Limits(1, 4096, 1), {"a": 30, "b": 50, "c": 36}, latency)
    assert len(timed) <= PROBES + isinstance(target, str)
    assert abs(latency(found) * 1e3 / wanted - 1) <= 2 * NEAR


def test_without_a_target_widths_stay_but_for_ties() -> None:
    widths = {"a": 21, "b": 33, "c": 36}
    assert Target().project(SPACE, LIMITS, widths, lambda of: 0.0) is widths
    tied = dataclasses.replace(SPACE, ties={"a": "one", "c": "one"})
    found = Target().project(tied, LIMITS, {"a": 16, "b": 34, "c": 96}, lambda of: 0.0)
    assert found == {"a": 32, "b": 34, "c": 48}
