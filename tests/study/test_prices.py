from __future__ import annotations

from pathlib import Path

import pytest

from chanc.analysis import analyze
from chanc.analysis.infer_shapes import infer_shapes
from chanc.cost.cost import cost
from chanc.study.measure import measured_weights, members
from chanc.study.study import space_of


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
    from chanc.rewriter import rewrite

    analysis = analyze(digits_model)
    space = space_of(analysis)
    plan = dict(zip(space.widths, widths, strict=True))
    model = rewrite(analysis.model, plan).model
    infer_shapes(model)
    real = cost(model)
    assert (space.count(plan, "params"), space.count(plan, "macs")) == (real.params, real.macs)


def test_members_leave_out_depthwise_and_linear_weights(digits_model: Path) -> None:
    analysis = analyze(digits_model)
    found = members(analysis, measured_weights(analysis.model))
    assert [sorted(f"{one.initializer} {one.mode}" for one in of) for of in found.values()] == [
        ["inner.weight in", "outer.weight out", "pointwise.weight in", "stem.weight out"],
        ["inner.weight out", "outer.weight in"],
        ["pointwise.weight out"],
    ]
