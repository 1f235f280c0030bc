"""Metrics by name: all weights at once, one factorisation, one clear line where one is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chanc.errors import RunError, TrialError
from chanc.metrics import registry
from chanc.metrics.quality import layers_quality
from chanc.metrics.registry import METRICS, Weights, measure

ARRAYS = {name: np.random.default_rng(i).standard_normal((8, 6, 3, 3)) for i, name in enumerate("ab")}


def test_quality_is_what_is_known_and_the_rest_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    all_of_them = layers_quality(ARRAYS)
    asked = []
    monkeypatch.setattr(registry, "layers_quality", lambda rest, minimum: asked.append((list(rest), minimum)) or {
        name: all_of_them[name] for name in rest})  # fmt: skip
    weights = Weights(ARRAYS, "brent", {"b": all_of_them["a"]})
    for _ in range(2):
        found = measure(["quality"], weights)
        assert list(found) == ["a", "b"]
        assert found["a"] == found["b"]
        assert found["a"]["in_kappa"] == all_of_them["a"].in_kappa
    assert asked == [(["a"], "brent")]


def test_figures_of_several_metrics_stand_side_by_side() -> None:
    with METRICS.scratch():
        METRICS.register("norm")(lambda weights: {name: {"norm": np.linalg.norm(w)} for name, w in weights.items()})
        METRICS.register("first")(lambda weights: {"a": {"first": 1}})
        found = measure(["norm", "first"], Weights(ARRAYS))
    assert found == {
        "a": {"norm": pytest.approx(np.linalg.norm(ARRAYS["a"])), "first": 1.0},
        "b": {"norm": pytest.approx(np.linalg.norm(ARRAYS["b"]))},
    }
    assert all(type(value) is float for layer in found.values() for value in layer.values())


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        (lambda weights: 1 / 0, "the metric mine failed: ZeroDivisionError: division by zero"),
        (lambda weights: {"a": {"x": "word"}}, "the metric mine failed: ValueError: could not convert"),
        (lambda weights: {"c": {"x": 1}}, "the metric mine has figures of 'c', which is none of its layers"),
        (lambda weights: {"a": {"in_qc": 1}}, "the metric mine has a figure 'in_qc', and so has another one"),
    ],
)
def test_a_wrong_metric_is_one_line(metric: Callable[[Weights], Any], told: str) -> None:
    with METRICS.scratch():
        METRICS.register("mine")(metric)
        with pytest.raises(RunError) as caught:
            measure(["quality", "mine"], Weights(ARRAYS))
    assert str(caught.value).startswith(told)


def test_weights_that_diverged_are_a_failed_trial() -> None:
    with pytest.raises(TrialError, match="a: the weights hold NaN"):
        measure(["quality"], Weights({**ARRAYS, "a": ARRAYS["a"] * np.nan}))
