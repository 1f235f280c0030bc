from __future__ import annotations

import pytest

from chanc.errors import RunError
from chanc.study.budgets import Budget
from chanc.study.space import Limits
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
