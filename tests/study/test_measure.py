from __future__ import annotations

import pytest

from chanc.study.measure import Member, degenerate, group_epoch, group_metric

GROUPS = {"a": (Member("w0", "out"), Member("w1", "in")), "b": (Member("w1", "out"),), "c": ()}


def layers(**values: float) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {}
    for key, value in values.items():
        weight, mode = key.split("_")
        rows.setdefault(weight, {}).update({f"{mode}_{what}": value * scale for what, scale in
                                            (("rank", 1), ("kappa", 10), ("qc", 2))})  # fmt: skip
    return rows


def test_a_groups_metric_is_the_mean_of_its_layers_best_epochs() -> None:
    first = layers(w0_out=0.1, w0_in=9.0, w1_in=0.4, w1_out=0.2)
    second = layers(w0_out=0.3, w0_in=9.0, w1_in=0.2, w1_out=0.1)
    assert group_metric(GROUPS, [first, second]) == pytest.approx({"a": 2 * (0.3 + 0.4) / 2, "b": 2 * 0.2})


def test_means_of_one_epoch() -> None:
    means = group_epoch(GROUPS, layers(w0_out=0.1, w0_in=9.0, w1_in=0.4, w1_out=0.2))
    assert set(means) == {"a", "b"}
    assert (means["a"].rank, means["a"].kappa, means["a"].qc) == pytest.approx((0.25, 2.5, 0.5))


def test_axes_of_one_singular_value_are_counted() -> None:
    first = layers(w0_out=0.1, w0_in=0.1, w1_in=0.4, w1_out=0.2)  # w0 (in) belongs to no group
    second = layers(w0_out=0.1, w0_in=0.1, w1_in=0.1, w1_out=0.2)
    assert degenerate(GROUPS, [first, second]) == {"w0 (out)": 2.0, "w1 (in)": 1.0}
    assert degenerate(GROUPS, [layers(w0_out=0.2, w1_in=0.2, w1_out=0.2)]) == {}


def test_no_epochs_no_metric() -> None:
    assert group_metric(GROUPS, []) == {}
