"""Trials: every form of plan is made, and a wrong rewrite is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from chanc.analysis import analyze
from chanc.errors import PlanError
from chanc.testing import plans
from chanc.testing.graphs import Graph
from chanc.testing.plans import Trial, check_all, check_trial, random_trials


def _model():
    graph = Graph()
    x = graph.input("x", [2, 3, 8, 8], dynamic={0: "n"}).conv(16).bn().relu()
    return graph.model((x + x.conv(16)).depthwise().gap().flatten().gemm(5))


def test_every_form_of_plan_is_tried():
    trials = list(random_trials(analyze(_model()), 0))
    assert [trial.name for trial in trials] == ["shrink", "widen", "grow", "keep", "round", "half", "wide"]
    wishes = [str(sorted(wish)[0]) for trial in trials for wish in trial.plan.values()]
    assert set(wishes) == {"scale", "keep"}


def test_trials_follow_the_seed():
    analysis = analyze(_model())
    plan = [trial.plan for trial in random_trials(analysis, 4)]
    assert plan == [trial.plan for trial in random_trials(analysis, 4)]


def test_a_right_model_passes():
    for seed in range(3):
        check_all(_model(), seed)


@pytest.mark.parametrize("oracle", ["shrink", "widen"])
def test_a_wrong_rewrite_is_noticed(monkeypatch, oracle):
    """One weight of the rewritten model is off."""
    right = plans.rewrite

    def wrong(*arguments, **options):
        result = right(*arguments, **options)
        tensor = result.model.graph.initializer[0]
        values = np.frombuffer(tensor.raw_data, np.float32).copy()
        values[0] += 1
        tensor.raw_data = values.tobytes()
        return result

    model = _model()
    trials = {trial.name: trial for trial in random_trials(analyze(model), 0)}
    check_trial(model, trials[oracle])
    monkeypatch.setattr(plans, "rewrite", wrong)
    with pytest.raises(AssertionError, match="differs by"):
        check_trial(model, trials[oracle])


def test_refusals_are_raised():
    with pytest.raises(PlanError, match="no channel group matches 'nothing'"):
        check_trial(_model(), Trial("bad", "shrink", {"nothing": 3}))
