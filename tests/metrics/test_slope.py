from __future__ import annotations

import pytest

from chanc.metrics.slope import RankSlope, rank_slope, rank_slopes


@pytest.mark.parametrize(
    ("ranks", "slope", "plateau"),
    [
        ([0.1, 0.2, 0.4, 0.4, 0.3], 0.15, 2),
        ([0.1, 0.2, 0.3], 0.1, 2),
        ([0.5, 0.4, 0.3], 0.0, 0),
        ([0.2, 0.2], 0.0, 0),
        ([0.7], 0.0, 0),
    ],
)
def test_slope_up_to_the_first_highest_rank(ranks, slope: float, plateau: int) -> None:
    found = rank_slope(ranks)
    assert found.slope == pytest.approx(slope)
    assert found.plateau == plateau


def test_groups_of_a_trial() -> None:
    found = rank_slopes([{"a": 0.0, "b": 0.3}, {"a": 0.5, "b": 0.2}])
    assert found == {"a": RankSlope(0.5, 1), "b": RankSlope(0.0, 0)}
    assert rank_slopes([]) == {}


def test_no_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one epoch"):
        rank_slope([])
