"""Sizes at any widths are those of the model that a rewrite makes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx_ir as ir
import pytest

from chanc.analysis import analyze
from chanc.cost.sizes import Unknown
from chanc.ir.nodes import called
from chanc.rewriter import rewrite
from chanc.testing.blocks import attention, mlp, tokens
from chanc.testing.graphs import Graph
from chanc.testing.strategies import graph_of_seed

SCALES = (0.5, 1.5, 2.0)


def differences(model, scale: float) -> list[str]:
    """The nodes whose weights and results have other sizes at the widths of a rewrite than in the rewritten model."""
    analysis = analyze(model)
    result = rewrite(model, scale=scale)
    foretold = operands(analysis, {name: new for name, (_, new) in result.trace.groups.items()})
    found = operands(analyze(result.model), {})
    assert len(found) >= 3
    return [name for name, sizes in found.items() if name in foretold and foretold[name] != sizes]


def operands(analysis, widths) -> dict[str, list]:
    """The sizes of each node's result and weights, None where one is not known, by its first output's name."""
    sizes = analysis.sizes(widths)

    def known(of, node, index):
        try:
            return of(node, index)
        except Unknown:
            return None

    return {
        called(node): [known(sizes.output, node, 0)] + [known(sizes.input, node, k) for k in weights(node)]
        for node in analysis.model.graph
        if node.outputs[0] not in analysis.findings.data
    }


def weights(node) -> list[int]:
    """The inputs that are weights: tables of positions are no part of what a plan says."""
    return [
        k
        for k, value in enumerate(node.inputs)
        if value is not None and value.const_value is not None and value.dtype == ir.DataType.FLOAT
    ]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("seed", [pytest.param(k, marks=pytest.mark.nightly if k > 3 else ()) for k in range(12)])
def test_sizes_foretold_for_random_graphs(seed: int, scale: float) -> None:
    assert not differences(graph_of_seed(seed), scale)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(12, 400))
def test_sizes_foretold_for_many_random_graphs(seed: int) -> None:
    for scale in SCALES:
        assert not differences(graph_of_seed(seed), scale)


def transformer(width: int = 16, heads: int = 4):
    graph = Graph()
    x = tokens(graph.input("image", [1, 3, 8, 8]).conv(width, 3))
    x = x + attention(x, heads)
    return graph.model(x + mlp(x, 4 * width))


def test_products_of_activations_count_at_other_widths() -> None:
    analysis = analyze(transformer())
    assert not differences(transformer(), 2.0)
    widths = {group.id: 2 * group.size for group in analysis.groups if group.resizable}
    products = [name for name, cost in analysis.node_costs().items() if cost.macs and not cost.params]
    assert len(products) == 2
    wide, narrow = analysis.node_costs(widths), analysis.node_costs()
    assert all(wide[name].macs == 2 * narrow[name].macs for name in products)


def test_sizes_of_any_number_type() -> None:
    analysis = analyze(transformer())
    groups = [group for group in analysis.groups if group.resizable]
    exact = analysis.cost_at({group.id: 2 * group.size for group in groups})
    assert analysis.cost_at({group.id: Fraction(2 * group.size) for group in groups}).macs == exact.macs
    assert analysis.cost_at({group.id: 2.0 * group.size for group in groups}).params == pytest.approx(exact.params)


def test_macs_are_differentiable() -> None:
    torch = pytest.importorskip("torch")
    analysis = analyze(transformer())
    groups = [group for group in analysis.groups if group.resizable]
    widths = {g.id: torch.tensor(float(g.size), dtype=torch.float64, requires_grad=True) for g in groups}
    analysis.cost_at(widths).macs.backward()
    for group in groups:
        wider, narrower = (analysis.cost_at({group.id: float(group.size + d)}).macs for d in (1, -1))
        assert float(widths[group.id].grad) == pytest.approx((wider - narrower) / 2, rel=1e-9)


def test_sizes_of_weights_and_activations_by_hand() -> None:
    graph = Graph()
    first = graph.input("x", [2, 3, 8, 8]).conv(8, 3)
    model = graph.model(first.relu().conv(5, 1))
    analysis = analyze(model)
    one, two = [node for node in analysis.model.graph if node.op_type == "Conv"]
    group = next(group for group in analysis.groups if group.resizable)
    sizes = analysis.sizes({group.id: 12})
    assert sizes.input(one, 1) == (12, 3, 3, 3)
    assert sizes.output(one, 0) == (2, 12, 8, 8)
    assert sizes.input(two, 1) == (5, 12, 1, 1)
    assert sizes.output(two, 0) == (2, 5, 8, 8)
    assert np.prod(sizes.input(two, 0)) == 2 * 12 * 64
