"""An analysis whose model was rewritten in place speaks of widths that are no more: it is refused."""

from __future__ import annotations

import pytest

from chanc.analysis import analyze
from chanc.errors import ChancError, PlanError
from chanc.rewriter import rewrite
from chanc.rewriter.rules import REGISTRY
from chanc.testing.builders import build

CHAIN = "a = Conv (x, w1)\nb = Conv (a, w2)\ny = Conv (b, w3)"
SHAPES = {"w1": (8, 3, 1, 1), "w2": (8, 8, 1, 1), "w3": (2, 8, 1, 1)}


@pytest.fixture
def analysis():
    return analyze(build("float[N,3,4,4] x", "float y", CHAIN, SHAPES))


def test_a_second_rewrite_is_refused_and_the_first_result_stays(analysis) -> None:
    first = rewrite(analysis, {"w1": 4})
    assert analysis.spent
    with pytest.raises(PlanError, match="this analysis is spent: its model was rewritten already; analyse again"):
        rewrite(analysis, {"w1": 6})
    shapes = {name: tuple(value.shape) for name, value in first.model.graph.initializers.items()}
    assert shapes == {"w1": (4, 3, 1, 1), "w2": (8, 4, 1, 1), "w3": (2, 8, 1, 1)}


def test_a_plan_that_can_not_be_had_spends_nothing(analysis) -> None:
    with pytest.raises(PlanError, match="no channel group matches"):
        rewrite(analysis, {"nobody": 4})
    assert not analysis.spent
    assert rewrite(analysis, {"w1": 4}).changed


def test_a_failed_rewrite_spends_it(analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(site: object) -> None:
        raise ChancError("half way")

    monkeypatch.setattr(REGISTRY, "find", lambda domain, name, since: failing)
    with pytest.raises(ChancError, match="half way"):
        rewrite(analysis, {"w1": 4})
    monkeypatch.undo()
    with pytest.raises(PlanError, match="spent"):
        rewrite(analysis, {"w1": 4})


def test_a_model_can_be_rewritten_again_and_again(analysis) -> None:
    model = build("float[N,3,4,4] x", "float y", CHAIN, SHAPES)
    assert rewrite(model, {"w1": 4}).trace.groups == rewrite(model, {"w1": 4}).trace.groups
