from __future__ import annotations

import pytest

from chanc.metrics.cumulative import cumulative


def test_equation_6_is_the_mean_over_layers() -> None:
    gamma, trials = 0.8, [{"a": [0.1, 0.3], "b": [0.4]}, {"a": [0.5, 0.2], "b": [0.6]}]
    layers = {(group, i): 0.0 for group, of in trials[0].items() for i in range(len(of))}
    momentum = {"a": 0.0, "b": 0.0}
    for quality in trials:
        layers = {(group, i): gamma * layers[group, i] + q for group, of in quality.items() for i, q in enumerate(of)}
        momentum = {group: gamma * momentum[group] + sum(of) / len(of) for group, of in quality.items()}
    assert cumulative(momentum, {"a": 2, "b": 1}) == pytest.approx(sum(layers.values()) / 3)
    assert cumulative(momentum, {"a": 2, "b": 1}) != pytest.approx(sum(momentum.values()) / 2)


def test_a_group_without_a_measured_layer_has_no_say() -> None:
    assert cumulative({"a": 0.5, "b": 9.0}, {"a": 2}) == 0.5
    assert cumulative({"b": 9.0}, {}) == 0.0
