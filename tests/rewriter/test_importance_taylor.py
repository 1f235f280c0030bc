from __future__ import annotations

import numpy as np
import pytest

from chanc.errors import PlanError
from chanc.rewriter import rewrite
from chanc.rewriter.importance import Gathered

S = np.random.default_rng(0).standard_normal((3, 8))
"""Of three batches and eight units."""


def test_the_mean_magnitude_over_batches_of_what_consumers_lose(plain, judged, moments) -> None:
    gathered = Gathered(3, {}, {"w1": moments(S)}, {"w1": moments(100 * S[:, ::-1])})
    assert np.allclose(judged(plain(), "taylor", "w1", gathered), np.abs(S).mean(0))


def test_what_makes_a_unit_speaks_where_no_weight_takes_it(plain, judged, moments) -> None:
    gathered = Gathered(3, {}, {}, {"w1": moments(S)})
    assert np.allclose(judged(plain(), "taylor", "w1", gathered), np.abs(S).mean(0))


def test_a_group_in_which_nothing_trains_is_judged_by_its_weights(plain, judged) -> None:
    assert np.array_equal(judged(plain(), "taylor", "w1", Gathered(3, {}, {}, {})), judged(plain(), "l2", "w1"))


def test_the_rewrite_keeps_the_units_that_the_loss_hangs_on(plain, moments) -> None:
    gathered = Gathered(3, {}, {"w1": moments(S)}, {})
    trace = rewrite(plain(), {"w1": 4}, importance="taylor", evidence=gathered).trace
    source = next(o.axes[0] for o in trace.operands if o.initializer == "w1")
    assert source.tolist() == np.sort(np.argsort(-np.abs(S).mean(0))[:4]).tolist()


@pytest.mark.parametrize("importance", ["taylor", "fisher", "activation"])
def test_without_data_one_line_says_what_to_add(plain, importance: str) -> None:
    with pytest.raises(PlanError, match=r"^this importance needs data to judge by: add --data NAME") as error:
        rewrite(plain(), {"w1": 4}, importance=importance)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("importance", ["taylor", "fisher", "activation"])
def test_evidence_of_another_model_is_refused(plain, moments, importance: str) -> None:
    gathered = Gathered(3, {}, {"w1": moments(S)}, {}, norms={"w1": np.ones(8)})
    with pytest.raises(PlanError, match="group 'w1': the evidence is of another model, of 8 units"):
        rewrite(plain(wide=9), {"w1": 4}, importance=importance, evidence=gathered)
