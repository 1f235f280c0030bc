"""The shrink oracle's twin, value by value."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

import chanc
from chanc.oracles.compare import Array
from chanc.oracles.zeroed import zeroed
from chanc.testing.graphs import Graph


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_rows_and_columns_that_go_are_zeros(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chanc.rewriter.transfer._common.BLOCK", block)
    graph = Graph()
    model = chanc.load(graph.model(graph.input("x", [1, 3, 5, 5]).conv(6).relu().conv(8).relu().conv(4)))
    trace = chanc.rewrite(model, scale=0.5).trace
    found = {called: value for called, value in _weights(zeroed(model, trace)).items() if called.endswith(".zeroed")}
    old = _weights(model)
    assert len(found) == len(trace.operands) == 5
    for operand in trace.operands:
        expected = np.zeros_like(old[operand.initializer])
        kept = np.ix_(*(operand.axes.get(axis, np.arange(size)) for axis, size in enumerate(expected.shape)))
        expected[kept] = old[operand.initializer][kept]
        np.testing.assert_array_equal(found[f"{operand.initializer}.zeroed"], expected)


def _weights(model: ir.Model) -> dict[str, Array]:
    return {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}
