from __future__ import annotations

import numpy as np

from chanc.rewriter.importance import Gathered


def test_half_the_mean_square_over_batches(plain, judged, moments) -> None:
    s = np.random.default_rng(0).standard_normal((3, 8))
    gathered = Gathered(3, {}, {"w1": moments(s)}, {})
    assert np.allclose(judged(plain(), "fisher", "w1", gathered), (s**2).mean(0) / 2)


def test_one_large_batch_counts_more_than_for_taylor(plain, judged, moments) -> None:
    s = np.zeros((4, 8))
    s[:, 0], s[0, 1] = 1.0, 3.9
    gathered = Gathered(4, {}, {"w1": moments(s)}, {})
    taylor, fisher = (judged(plain(), name, "w1", gathered) for name in ("taylor", "fisher"))
    assert taylor[0] > taylor[1]
    assert fisher[0] < fisher[1]


def test_a_group_in_which_nothing_trains_is_judged_by_its_weights(plain, judged) -> None:
    assert np.array_equal(judged(plain(), "fisher", "w1", Gathered(3, {}, {}, {})), judged(plain(), "l2", "w1"))
