from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from chanc import gather
from chanc.rewriter import rewrite
from chanc.rewriter.importance import Gathered
from chanc.testing.graphs import Graph


def test_the_sizes_that_layers_read_decide(plain, judged) -> None:
    norms = np.arange(8.0)[::-1].copy()
    gathered = Gathered(1, {}, {}, {}, norms={"w1": norms})
    assert np.array_equal(judged(plain(), "activation", "w1", gathered), norms)
    trace = rewrite(plain(), {"w1": 3}, importance="activation", evidence=gathered).trace
    assert next(o.axes[0] for o in trace.operands if o.initializer == "w1").tolist() == [0, 1, 2]


def test_a_group_that_no_layer_reads_is_judged_by_its_weights(plain, judged) -> None:
    assert np.array_equal(judged(plain(), "activation", "w1", Gathered(1, {}, {}, {})), judged(plain(), "l2", "w1"))


def test_a_dead_unit_goes_first_however_large_its_weights_are() -> None:
    """Its bias holds it under 0, so that the ReLU lets nothing through."""
    pytest.importorskip("torch")
    graph = Graph(seed=0)
    x = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(6).relu()
    model = graph.ir(x.conv(5).relu().gap().flatten().gemm(10))
    first = next(iter(model.graph)).inputs
    weight, bias = (value.const_value.numpy().copy() for value in first[1:3])
    weight[2], bias[2] = 100, -1e5
    for value, array in zip(first[1:3], (weight, bias), strict=True):
        value.const_value = ir.tensor(array, name=value.name)
    evidence = gather(model, "digits", device="cpu", batches=2)
    assert evidence.norms[first[1].name][2] == 0
    trace = rewrite(model, {first[1].name: 5}, importance="activation", evidence=evidence).trace
    kept = next(o.axes[0] for o in trace.operands if o.initializer == first[1].name)
    assert kept.tolist() == [0, 1, 3, 4, 5]
