"""Gather from a flattened tensor at the positions of a strided view, as torch's as_strided is exported."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from chanc.analysis import analyze
from chanc.oracles import check_shrink, check_widen
from chanc.rewriter import rewrite
from chanc.testing.graphs import Graph, Tensor
from chanc.testing.plans import check_all

CHANNELS = 6
NIGHT = pytest.mark.nightly


def _axis(graph: Graph, numbers: np.ndarray, axis: int) -> Tensor:
    """Numbers along one of four axes."""
    return graph.constant(numbers.reshape([-1 if k == axis else 1 for k in range(4)]), stored="initializer")


def viewed(x: Tensor, order: np.ndarray, rows: np.ndarray, *, known_batch: bool) -> Tensor:
    """x[:, order][:, :, rows] as a Gather from x flattened; the batch is a Range unless it is known."""
    graph = x.graph
    n, _, h, w = x.shape
    strides = np.array([x.channels * h * w, h * w, w, 1])
    parts = [np.arange(n), order, rows, np.arange(w)]
    shape = (n, order.size, rows.size, w)
    flat = x.reshape(-1)
    if known_batch:
        index = graph.constant(sum(p.reshape([-1 if k == a else 1 for k in range(4)]) * strides[a]
                                   for a, p in enumerate(parts)))  # fmt: skip
    else:
        zero, one, step = (graph.constant(np.array(k), stored="initializer") for k in (0, 1, strides[0]))
        size = x.op("Shape", start=0, end=1).op("Squeeze")
        index = (graph.node("Range", [zero, size, one], shapes=[(n,)])[0] * step).unsqueeze(1, 2, 3)
        for axis in range(1, 4):
            index = index + _axis(graph, parts[axis] * strides[axis], axis)
    return graph.node("Gather", [flat, index], shapes=[shape], axis=0)[0]


def network(kind: str, *, pooled: bool, known_batch: bool) -> onnx.ModelProto:
    """Conv, a strided view of its output or of its means, Conv."""
    graph = Graph(opset=17)
    x = graph.input("x", [2, 3, 4, 5], dynamic={} if known_batch else {0: "n"}).conv(CHANNELS)
    x = x.mean(2, 3) if pooled else x
    order = {"same": np.arange(6), "turned": np.arange(6)[::-1], "some": np.array([4, 0, 2])}[kind]
    y = viewed(x, order, np.arange(0, x.shape[2], 2), known_batch=known_batch)
    return graph.model(y.conv(4, 1).mean(2, 3, keep=False).linear(3), x.conv(2, 1))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=NIGHT) for seed in (1, 2))])
@pytest.mark.parametrize(
    ("pooled", "known_batch"),
    [(False, False), (True, True), pytest.param(False, True, marks=NIGHT), pytest.param(True, False, marks=NIGHT)],
)
@pytest.mark.parametrize("kind", ["same", "turned", "some"])
def test_both_directions(kind: str, pooled: bool, known_batch: bool, seed: int) -> None:
    model = network(kind, pooled=pooled, known_batch=known_batch)
    groups = {group.id: group for group in analyze(model).groups}
    mine = [group for name, group in groups.items() if name.startswith("w_1") and not name.endswith(":1")]
    assert sum(group.size for group in mine if group.resizable) == CHANNELS
    assert check_shrink(model).operands
    assert check_widen(model, scale=2.0).operands
    check_all(model, seed)


def test_a_rewritten_view_is_understood_again() -> None:
    model = network("turned", pooled=False, known_batch=False)
    half = rewrite(model, scale=0.5).model
    assert [g.size for g in analyze(half).groups if g.resizable] == [3, 2]
    check_widen(half, scale=2.0)


@pytest.mark.parametrize("start", [1, 7])
def test_positions_that_run_over_an_end_are_not_understood(start: int) -> None:
    """A window that begins one pixel or one row late reads into the next channel: the channels stay."""
    graph = Graph(opset=17)
    x = graph.input("x", [2, 3, 4, 5]).conv(CHANNELS)
    index = start + np.arange(5 * 20).reshape(1, 5, 4, 5)
    y = graph.node("Gather", [x.reshape(-1), graph.constant(index)], shapes=[(1, 5, 4, 5)], axis=0)[0]
    model = graph.model(y.conv(4, 1))
    before = analyze(model)
    assert not any(group.resizable and group.id == "w_1" for group in before.groups)
    check_all(model)


def test_positions_that_are_computed_from_the_data() -> None:
    graph = Graph(opset=17)
    x = graph.input("x", [2, 3, 4, 5], dynamic={0: "n"}).conv(CHANNELS).mean(2, 3)
    places = x.reshape(-1).op("Cast", to=7)
    model = graph.model(graph.node("Gather", [x.reshape(-1), places], shapes=[(12,)], axis=0)[0])
    assert {g.reason for g in analyze(model).groups if g.id == "w_1"} == {"it is looked up (Gather 'gather_10')"}
