"""Bounds of the steps of a pruning."""

from __future__ import annotations

import pytest

from chanc.errors import PlanError
from chanc.pruning.budgets import Budgets


def never() -> float:
    raise AssertionError("nobody asked for a latency")


def test_each_step_takes_the_same_part_away() -> None:
    budgets = Budgets(params=250, macs="81%")
    assert budgets.at(0.5, 1000, 10_000, never) == pytest.approx({"max_params": 500, "max_macs": 9000})
    assert budgets.at(1.0, 1000, 10_000, never) == pytest.approx({"max_params": 250, "max_macs": 8100})


def test_a_bound_that_is_kept_already_stays() -> None:
    assert Budgets(params=2000).at(0.5, 1000, 1, never) == {"max_params": 1000}


def test_a_latency_is_measured_where_it_is_asked_for() -> None:
    assert Budgets(latency="25%").at(0.5, 1, 1, lambda: 8.0) == pytest.approx({"max_latency": 4.0})


def test_no_budget_and_a_senseless_one() -> None:
    with pytest.raises(PlanError, match="needs a budget"):
        Budgets()
    with pytest.raises(PlanError, match="above 0"):
        Budgets(macs="-3%").at(1.0, 1, 1, never)
