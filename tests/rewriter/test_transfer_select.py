from __future__ import annotations

import numpy as np
import pytest

from chanc.oracles import check_shrink, differences
from chanc.rewriter import rewrite
from chanc.rewriter.edits import AxisEdit, Part
from chanc.rewriter.transfer._common import KEPT
from chanc.rewriter.transfer.select import select

VECTORS = ("b1", "gamma1", "beta1", "mean1", "var1")
RNG = np.random.default_rng(0)


def test_kept_channels_keep_their_values(plain, weights) -> None:
    model = plain()
    keep = [0, 3, 4, 7]
    old, new = weights(model), weights(rewrite(model, {"w1": {"keep": keep}}).model)
    assert np.array_equal(new["w1"], old["w1"][keep])
    assert np.array_equal(new["w2"], old["w2"][:, keep])
    for name in VECTORS:
        assert np.array_equal(new[name], old[name][keep])
    for name in ("b2", "w3", "b3"):
        assert np.array_equal(new[name], old[name])


@pytest.mark.parametrize("width", [9, 12, 16, 21])
def test_growth_keeps_the_function(plain, weights, width: int) -> None:
    model = plain()
    done = rewrite(model, {"w1": width, "w2": width}, transfer="select")
    assert all(found.error < 1e-6 for found in differences(model, done.model))
    old, new = weights(model), weights(done.model)
    source = next(o.axes[0] for o in done.trace.operands if o.initializer == "w1")
    assert sorted(set(source.tolist())) == list(range(8))
    assert np.array_equal(new["w1"], old["w1"][source])
    first = np.unique(source, return_index=True)[1]
    later = np.setdiff1d(np.arange(width), first)
    rows = next(o.axes[0] for o in done.trace.operands if o.initializer == "w2")
    assert np.array_equal(new["w2"][:, first], old["w2"][rows])
    assert later.size == width - 8
    alone = later[np.bincount(source)[source[later]] == 2]
    assert alone.size == {9: 1, 12: 4, 16: 8, 21: 3}[width]
    assert not new["w2"][:, alone].any()


def test_copies_stand_next_to_their_source(plain) -> None:
    done = rewrite(plain(), {"w1": 12}, importance="first")
    source = next(o.axes[0] for o in done.trace.operands if o.initializer == "w1")
    assert source.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7]


def test_the_shrink_oracle_in_steps(grouped) -> None:
    assert check_shrink(grouped, scale=0.5).operands


def test_consumers_of_later_copies_cancel_out() -> None:
    part = Part(np.arange(3)[:, None], np.arange(5)[:, None], np.array([0, 0, 0, 1, 2]))
    tensor = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3)
    edit = AxisEdit(1, "consumer", np.array([0, 0, 0, 1, 2]), (part,))
    share = 1 / 18
    assert select(tensor, [edit], KEPT, RNG) == pytest.approx(
        np.array([[1, -share, share, 2, 3], [4, -4 * share, 4 * share, 5, 6]]))  # fmt: skip
    edit = AxisEdit(1, "producer", np.array([0, 0, 0, 1, 2]), (part,))
    assert select(tensor, [edit], KEPT, RNG).tolist() == [[1, 1, 1, 2, 3], [4, 4, 4, 5, 6]]
