from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chanc.analysis import analyze
from chanc.study.prices import Formula, prices
from chanc.testing.blocks import attention, tokens
from chanc.testing.graphs import Graph


def test_a_formula_prices_as_the_count_does(digits_model: Path) -> None:
    analysis = analyze(digits_model)
    price = prices(analysis)
    assert isinstance(price, Formula)
    draw = np.random.default_rng(0)
    for _ in range(20):
        widths = {group.id: int(draw.integers(1, 90)) for group in analysis.groups if group.resizable}
        counted = analysis.cost_at(widths)
        found = price(widths)
        assert (found.params, found.macs) == (counted.params, counted.macs)


def test_a_group_that_is_not_named_keeps_its_width(digits_model: Path) -> None:
    analysis = analyze(digits_model)
    assert prices(analysis)({}).params == analysis.params


def test_products_of_activations_have_a_formula_too() -> None:
    graph = Graph()
    x = tokens(graph.input("image", [1, 3, 16, 16]).conv(16, 3))
    analysis = analyze(graph.model(x + attention(x, 4)))
    price = prices(analysis)
    assert isinstance(price, Formula)
    widths = {group.id: group.size + 3 * group.step for group in analysis.groups if group.resizable}
    assert price(widths).macs == analysis.cost_at(widths).macs


def test_a_cost_that_is_no_polynomial_is_counted_each_time(digits_model: Path) -> None:
    class Odd:
        """An analysis whose cost is rounded up to thousands."""

        def __init__(self) -> None:
            self.real = analyze(digits_model)
            self.groups = self.real.groups

        def cost_at(self, widths: object) -> object:
            cost = self.real.cost_at(widths)  # type: ignore[arg-type]
            return type(cost)(cost.params // 1000 * 1000, cost.macs, cost.macs_all)

    odd = Odd()
    assert prices(odd) == odd.cost_at  # type: ignore[arg-type]
    assert prices(odd)({}).params % 1000 == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_formula_takes_real_widths(digits_model: Path, share: float) -> None:
    analysis = analyze(digits_model)
    widths = {group.id: group.size * share for group in analysis.groups if group.resizable}
    assert prices(analysis)(widths).macs == round(analysis.cost_at(widths).macs)
