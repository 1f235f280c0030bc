from __future__ import annotations

import random

import pytest

from chanc.runs.paired import Difference, difference, least_correlation, rank_correlation, t_quantile

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 31, 100])
def test_students_quantile(freedom: int) -> None:
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-9)


@pytest.mark.parametrize("n", [3, 8, 40])
def test_rank_correlation_with_ties(n: int) -> None:
    draw = random.Random(n)
    xs, ys = ([float(draw.randrange(6)) for _ in range(n)] for _ in range(2))
    assert rank_correlation(xs, ys) == pytest.approx(stats.spearmanr(xs, ys).statistic)


def test_no_rank_correlation_with_a_constant() -> None:
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None


def test_what_chance_correlates() -> None:
    n = 12
    rho = least_correlation(n)
    assert stats.pearsonr(*(range(n),) * 2).statistic > rho
    t = rho * ((n - 2) / (1 - rho**2)) ** 0.5
    assert 2 * stats.t.sf(t, n - 2) == pytest.approx(0.05)
    assert least_correlation(3) == 1.0


def test_differences_are_paired_by_seed() -> None:
    found = difference({"1": 0.9, "2": 0.8, "3": 0.7}, {"3": 0.6, "1": 0.85, "9": 0.1})
    assert found is not None
    assert (found.n, found.mean) == (2, pytest.approx(0.075))
    assert found.error == pytest.approx(0.025)
    assert found.reach == pytest.approx(12.706 * 0.025, rel=1e-3)
    assert difference({"1": 0.9}, {"2": 0.8}) is None


@pytest.mark.parametrize(
    ("differences", "judgement"),
    [
        ([0.02, 0.021, 0.019], "better"),
        ([-0.02, -0.021, -0.019], "worse"),
        ([0.02, 0.021], "better"),
        ([0.02, 0.026], "can't tell"),  # ten standard errors, and the interval of two pairs reaches 12.7
        ([0.05, -0.01, 0.02], "can't tell"),
        ([0.02], "can't tell"),
        ([0.02, 0.02, 0.02], "can't tell"),  # no spread to judge by
    ],
)
def test_judgement(differences: list[float], judgement: str) -> None:
    found = difference({str(n): value for n, value in enumerate(differences)}, dict.fromkeys(map(str, range(9)), 0.0))
    assert found is not None
    assert found.judgement == judgement


def test_two_standard_errors_are_asked_for_however_many_there_are() -> None:
    assert Difference(1000, 0.0199, 0.01, 0.0196).judgement == "can't tell"
    assert Difference(1000, 0.0201, 0.01, 0.0196).judgement == "better"
