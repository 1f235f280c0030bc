"""Analysis and rewriting take work in proportion to the nodes; counted in function calls, so that no clock is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from chanc.rewriter import rewrite
from chanc.testing.graphs import Graph, Tensor


def joined(x: Tensor) -> Tensor:
    """A weight that the graph joins from four parts."""
    parts = [x.graph.weight(2, 8, 1, 1, fan_in=8) for _ in range(4)]
    return x.op("Conv", parts[0].concat(*parts[1:], axis=0)).relu()


def added(x: Tensor) -> Tensor:
    """A weight that the graph adds up."""
    one, two = (x.graph.weight(8, 8, 1, 1, fan_in=8) for _ in range(2))
    return x.op("Conv", one + two).relu()


def parted(x: Tensor) -> Tensor:
    """One constant that two convolutions share by halves."""
    one, two = x.graph.weight(16, 8, 1, 1, fan_in=8).split(8, 8, axis=0)
    return x.op("Conv", one).relu().op("Conv", two).relu()


def normed(x: Tensor) -> Tensor:
    return x.conv(8, 1).bn().relu()


def model(block: Callable[[Tensor], Tensor], count: int, stored: str) -> onnx.ModelProto:
    graph = Graph(seed=0, stored=stored)
    x = graph.input("x", [1, 3, 4, 4]).conv(8, 1)
    for _ in range(count):
        x = block(x)
    return graph.model(x.conv(4, 1))


def calls(net: onnx.ModelProto) -> int:
    """How many functions are called while a model is rewritten, analyses included."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        trace = rewrite(net, scale=2.0).trace
    finally:
        sys.setprofile(None)
    assert all(new == 2 * old for old, new in trace.groups.values())
    return count


@pytest.mark.parametrize(
    ("block", "stored"),
    [
        (joined, "initializer"), (parted, "constant"), (added, "initializer"), (normed, "constant"),
        *(pytest.param(*other, marks=pytest.mark.nightly) for other in
          [(joined, "constant"), (parted, "initializer"), (added, "constant"), (normed, "initializer")]),
    ],
)  # fmt: skip
def test_twice_the_blocks_are_twice_the_work(block: Callable[[Tensor], Tensor], stored: str) -> None:
    calls(model(block, 2, stored))  # what is imported and cached on first use
    few, some, many = (calls(model(block, count, stored)) for count in (10, 20, 40))
    np.testing.assert_allclose(many - some, 2 * (some - few), rtol=0.08)
