from __future__ import annotations

import pytest

from chanc.metrics.cumulative import cumulative, momentum, score


def test_accumulated_quality_is_the_closed_sum() -> None:
    trials = [{"a": 0.2, "b": 0.5}, {"a": 0.3, "b": 0.1}, {"a": 0.7, "b": 0.4}]
    found = cumulative(trials, 0.8)
    for t, metric in enumerate(found):
        for group in ("a", "b"):
            assert metric[group] == pytest.approx(sum(0.8 ** (t - i) * trials[i][group] for i in range(t + 1)))
    assert found[2] == momentum(found[1], trials[2], 0.8)
    assert score(found[0]) == pytest.approx(0.35)


def test_gamma_zero_forgets_and_new_groups_start_at_zero() -> None:
    assert momentum({"a": 9.0}, {"a": 0.25, "b": 0.5}, 0.0) == {"a": 0.25, "b": 0.5}
    assert momentum({"a": 1.0}, {"a": 0.25, "b": 0.5}, 0.5) == {"a": 0.75, "b": 0.5}
    assert score({}) == 0.0
    assert cumulative([], 0.5) == []


@pytest.mark.parametrize("gamma", [-0.1, 1.0])
def test_gamma_outside_its_range_is_refused(gamma: float) -> None:
    with pytest.raises(ValueError, match="gamma"):
        momentum(None, {"a": 1.0}, gamma)
