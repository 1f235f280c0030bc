"""Latencies of one model or two: what is measured on which inputs, and what is refused. How long isn't asserted."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

import chanc
from chanc.errors import ModelError, RunError
from chanc.testing.builders import build

pytest.importorskip("onnxruntime")


def test_two_models_in_turn(model: ir.Model) -> None:
    told: list[float] = []
    (found,) = chanc.latency(model, model, repeats=4, batch=3, on_turn=told.append)
    assert found.shapes == found.other_shapes == {"image": (3, 1, 6, 6)}
    assert found.other is not None
    assert found.ratio is not None
    assert found.latency.runs == found.other.runs == found.ratio.turns == 4
    assert 0 < found.latency.p10_s <= found.latency.median_s <= found.latency.p90_s
    assert told == [0.25, 0.5, 0.75, 1.0]


def test_each_provider_is_measured(model: ir.Model) -> None:
    told: list[float] = []
    found = chanc.latency(model, providers=("cpu", "CPUExecutionProvider"), repeats=1, on_turn=told.append)
    assert [one.latency.provider for one in found] == ["CPUExecutionProvider"] * 2
    assert told == [0.5, 1.0]
    with pytest.raises(RunError, match="no execution provider 'abacus'"):
        chanc.latency(model, providers=["abacus"])


def test_sizes_of_open_axes_and_inputs_of_ones_own() -> None:
    model = build("float[n,t,3] x", "float y", "y = Relu(x)", {})
    assert chanc.latency(model, repeats=1, dims={"t": 7})[0].shapes == {"x": (1, 7, 3)}
    assert chanc.latency(model, repeats=1, shapes={"x": [2, 5, 3]})[0].shapes == {"x": (2, 5, 3)}
    feeds = {"x": np.zeros((4, 2, 3), np.float32)}
    assert chanc.latency(model, repeats=1, feeds=feeds)[0].shapes == {"x": (4, 2, 3)}
    with pytest.raises(ModelError, match="no open axis of the model's inputs is called 'q'"):
        chanc.latency(model, dims={"q": 7})


def test_a_fixed_batch_takes_the_first_samples() -> None:
    """Two at a time of five, and one where the model knows of no batch."""
    fixed = build("float[2,3] x", "float y", "y = Relu(x)", {})
    samples = np.zeros((5, 2, 3), np.float32)
    assert chanc.latency(fixed, repeats=1, feeds={"x": samples[:, 0]})[0].shapes == {"x": (2, 3)}
    assert chanc.latency(fixed, repeats=1, feeds={"x": samples})[0].shapes == {"x": (2, 3)}


def test_a_batch_that_cannot_be_had() -> None:
    fixed = build("float[1,3] x", "float y", "y = Relu(x)", {})
    with pytest.raises(ModelError, match=r"can't be run on a batch of 8: it runs on x \[1, 3\]"):
        chanc.latency(fixed, batch=8)
    for wrong in ({"batch": 0}, {"repeats": 0}, {"seconds": 0.0}, {"providers": ()}):
        with pytest.raises(RunError, match="above 0"):
            chanc.latency(fixed, **wrong)
