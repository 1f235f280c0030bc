from __future__ import annotations

from pathlib import Path

import pytest

from chanc.analysis import analyze
from chanc.analysis.infer_shapes import infer_shapes
from chanc.cost.cost import cost
from chanc.errors import ModelError
from chanc.rewriter import rewrite
from chanc.study.budgets import Budget
from chanc.study.measure import measured_weights, members
from chanc.study.parts import space_of
from chanc.study.space import Limits
from chanc.testing.blocks import attention, tokens
from chanc.testing.graphs import Graph


def test_price_of_the_models_own_widths(digits_model: Path) -> None:
    analysis = analyze(digits_model)
    space = space_of(analysis)
    assert space.count(space.widths, "params") == analysis.params
    assert space.count(space.widths, "macs") == analysis.macs


def test_price_by_hand(digits_model: Path) -> None:
    space = space_of(analyze(digits_model))
    s, i, p = 20, 6, 50
    widths = dict(zip(space.widths, (s, i, p), strict=True))
    convs = 9 * s + 9 * s * i + 9 * i * s + 9 * s + s * p
    assert space.count(widths, "params") == convs + 2 * (s + i + s + s + p) + 10 * p + 10
    assert space.count(widths, "macs") == 64 * (9 * s + 18 * s * i) + 16 * (9 * s + s * p) + 10 * p


@pytest.mark.parametrize("widths", [(8, 40, 12), (32, 4, 64)])
def test_price_is_that_of_the_rewritten_model(digits_model: Path, widths: tuple[int, int, int]) -> None:
    analysis = analyze(digits_model)
    space = space_of(analysis)
    plan = dict(zip(space.widths, widths, strict=True))
    model = rewrite(analysis.model, plan).model
    infer_shapes(model)
    real = cost(model)
    assert (space.count(plan, "params"), space.count(plan, "macs")) == (real.params, real.macs)


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_a_budget_holds_where_activations_are_multiplied(share: float) -> None:
    graph = Graph()
    x = tokens(graph.input("image", [1, 3, 16, 16]).conv(16, 3))
    model = graph.model(x + attention(x, 4))
    analysis = analyze(model)
    products = [cost.macs for cost in analysis.node_costs().values() if not cost.params]
    assert sum(products) > analysis.macs / 2
    space, bound = space_of(analysis), round(share * analysis.macs)
    widths = Budget(max_macs=bound).project(space, Limits(1, 64, 1), space.widths)
    real = analyze(rewrite(model, widths).model).macs
    assert real <= bound
    assert real == space.count(widths, "macs")


def test_members_leave_out_depthwise_and_linear_weights(digits_model: Path) -> None:
    analysis = analyze(digits_model)
    found = members(analysis, measured_weights(analysis.model))
    assert [sorted(f"{one.initializer} {one.mode}" for one in of) for of in found.values()] == [
        ["inner.weight in", "outer.weight out", "pointwise.weight in", "stem.weight out"],
        ["inner.weight out", "outer.weight in"],
        ["pointwise.weight out"],
    ]


def test_groups_that_are_kept_and_groups_that_are_tied(digits_model: Path) -> None:
    space = space_of(analyze(digits_model), keep=["stem*"], ties={"inner.*": "both", "pointwise.*": "both"})
    assert set(space.widths) == {"inner.weight", "pointwise.weight"}
    assert [*space.units] == ["both"]
    with pytest.raises(ModelError, match="nothing to search"):
        space_of(analyze(digits_model), keep=["*"])


def test_a_stream_that_layers_add_to_is_not_inside_a_block(digits_model: Path) -> None:
    inner = {group.id: group.inner for group in space_of(analyze(digits_model)).resizable}
    assert inner == {"stem.weight": False, "inner.weight": True, "pointwise.weight": True}
