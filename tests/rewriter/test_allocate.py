"""Widths for a budget: what is worth least for its cost goes first, what is worth most comes first."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chanc.analysis import analyze
from chanc.errors import PlanError
from chanc.oracles import check_shrink
from chanc.rewriter import IMPORTANCES, rewrite
from chanc.rewriter.allocate import LEAST_SHARE, Account, allocate, even, exchange, fill, shrunk
from chanc.rewriter.importance import Evidence
from chanc.rewriter.plan import Sizing
from chanc.testing.graphs import Graph

FLAT = np.ones(64)


def network(*widths: int, size: int = 16):
    """A chain of convolutions, each but the first at half the size of the one before, and a classifier."""
    graph = Graph(seed=0)
    x = graph.input("image", [1, 3, size, size])
    for number, width in enumerate(widths):
        x = x.conv(width, stride=2 if number else 1).relu()
    return graph.ir(x.gap().flatten().gemm(10))


def analysed(*widths: int):
    """The analysis, and the weights' own scores."""
    analysis = analyze(network(*widths))
    evidence = Evidence(analysis.model, np.random.default_rng(0))
    return analysis, {g.id: IMPORTANCES["l2"](g, evidence) for g in analysis.groups if g.resizable}


def linear(**costs: float):
    """A price that is linear in the widths, of one budget."""
    return lambda widths: [sum(costs[name] * width for name, width in widths.items())]


@pytest.mark.parametrize("budget", [{"params": 0.5}, {"macs": 0.5}, {"params": 0.5, "macs": 0.3}, {"macs": 2_000_000}])
def test_the_budget_is_met_and_nearly_used_up(budget) -> None:
    analysis, scores = analysed(48, 64, 96, 128)
    widths = allocate(analysis, scores, **budget)
    cost = analysis.cost_at(widths)
    shares = {name: getattr(cost, name) / (of if isinstance(of, int) else of * getattr(analysis, name))
              for name, of in budget.items()}  # fmt: skip
    assert max(shares.values()) <= 1
    assert max(shares.values()) > 0.9
    assert all(width % 8 == 0 and width <= analysis.group(name).size for name, width in widths.items())
    done = rewrite(network(48, 64, 96, 128), widths)
    assert {name: new for name, (_, new) in done.trace.groups.items()} == widths


def test_a_larger_budget_is_grown_into() -> None:
    analysis, scores = analysed(16, 24, 32)
    widths = allocate(analysis, scores, params=2.0)
    assert all(width >= analysis.group(name).size for name, width in widths.items())
    assert 1.8 * analysis.params < analysis.cost_at(widths).params <= 2 * analysis.params


def test_of_two_budgets_the_one_that_is_met_does_not_push() -> None:
    analysis, scores = analysed(48, 64, 96, 128)
    both = analysis.cost_at(allocate(analysis, scores, params=0.5, macs=0.95))
    assert both.params > 0.45 * analysis.params
    assert both.macs > 1.2 * analysis.cost_at(allocate(analysis, scores, params=0.5, macs=0.3)).macs


def test_what_is_worth_less_for_its_cost_gives_more() -> None:
    """S / n^2 a channel over its cost is even where nothing can be gained: twice the cost, and sqrt(2) times fewer."""
    costs = linear(cheap=1 / 192, dear=2 / 192)
    start = {"cheap": 512, "dear": 512}
    quarter = lambda widths: [4 * row / 8 for row in costs(widths)]  # noqa: E731
    even = {name: Account.of(512, np.ones(512), 4, 4) for name in start}
    widths = shrunk(even, start, quarter)
    assert widths["cheap"] / widths["dear"] == pytest.approx(2**0.5, rel=0.05)
    paid = {"cheap": even["cheap"], "dear": Account.of(512, 4 * np.ones(512), 4, 4)}
    widths = shrunk(paid, start, quarter)
    assert widths["dear"] / widths["cheap"] == pytest.approx(2**0.5, rel=0.05)


def test_the_fewer_are_left_the_more_each_is_worth() -> None:
    account = Account.of(64, FLAT, 8, 8)
    assert account.worth(56, 64) == pytest.approx(64 * 64 * (1 / 56 - 1 / 64))
    assert account.worth(8, 16) == pytest.approx(64 * 64 * (1 / 8 - 1 / 16))
    assert account.worth(16, 8) == -account.worth(8, 16)
    small = Account.of(4096, np.ones(4096), 1, 1)
    assert small.worth(4095, 4096) == pytest.approx(1, rel=1e-3)  # to first order a unit is worth its score
    assert Account.of(64, np.zeros(64), 8, 8).worth(8, 64) == 0


def test_the_weakest_units_are_what_a_group_offers() -> None:
    """Half of `mixed` is worth nothing: it gives that half, and no more."""
    mixed = np.concatenate([np.zeros(32), 10 * np.ones(32)])
    accounts = {"mixed": Account.of(64, mixed[::-1], 8, 8), "plain": Account.of(64, FLAT, 8, 8)}
    price = linear(mixed=4 / 3 / 128, plain=4 / 3 / 128)
    assert shrunk(accounts, {"mixed": 64, "plain": 64}, price) == {"mixed": 32, "plain": 64}


def test_alike_units_shrink_alike() -> None:
    """Nothing is known but the cost: a wide group and a narrow one, a dear one and a cheap one, keep like shares."""
    analysis, scores = analysed(48, 64, 96, 128)
    flat = {name: np.ones_like(of) for name, of in scores.items()}
    widths = allocate(analysis, flat, macs=0.5, sizing=Sizing(1))
    kept = [width / analysis.group(name).size for name, width in widths.items()]
    assert max(kept) - min(kept) < 0.06
    assert 0.6 < min(kept) < 0.8
    weak = next(iter(flat))
    halves = {**flat, weak: np.repeat([1e-3, 1.0], flat[weak].size // 2)}
    assert allocate(analysis, halves, macs=0.5, sizing=Sizing(1))[weak] < widths[weak]


@pytest.mark.parametrize("floor", [8, 20, 33])
def test_no_group_goes_under_its_floor(floor: int) -> None:
    analysis, scores = analysed(48, 64, 96, 128)
    widths = allocate(analysis, scores, params=0.6, sizing=Sizing(8, floor))
    assert all(width >= floor and width % 8 == 0 for width in widths.values())


def test_a_budget_under_the_floor_is_refused() -> None:
    analysis, scores = analysed(48, 64)
    least = analysis.cost_at(dict.fromkeys(scores, 8)).params
    with pytest.raises(PlanError, match=rf"can't be met: the least that can be had is {least:,} params, with no group"):
        allocate(analysis, scores, params=0.01)
    with pytest.raises(PlanError, match="the budget of 1 ms can't be met: the least that can be had is 16 ms, with no"):
        allocate(analysis, scores, latency=1.0, clock=lambda widths: float(sum(widths.values())))


def test_no_group_is_emptied() -> None:
    """However little its units are worth: a tenth stays."""
    analysis, scores = analysed(48, 64, 96)
    name = list(scores)[2]
    widths = allocate(analysis, {**scores, name: 0 * scores[name]}, params=0.3, normalise=False, sizing=Sizing(1))
    assert widths[name] == math.ceil(LEAST_SHARE * 96)


def test_what_is_fixed_elsewhere_counts() -> None:
    analysis, scores = analysed(48, 64, 96)
    first = next(iter(scores))
    widths = allocate(analysis, scores, macs=0.5, fixed={first: 16})
    assert first not in widths
    assert 0.45 < analysis.cost_at({**widths, first: 16}).macs / analysis.macs <= 0.5


@pytest.mark.parametrize("round_to", [1, 2, 4, 16])
def test_widths_are_multiples(round_to: int) -> None:
    analysis, scores = analysed(46, 62, 12)
    widths = allocate(analysis, scores, params=0.5, sizing=Sizing(round_to))
    for name, width in widths.items():
        size = analysis.group(name).size
        assert width % round_to == 0 or width == size


def test_without_a_rounding_widths_are_as_devices_like_them() -> None:
    analysis, scores = analysed(46, 62, 12)
    widths = allocate(analysis, scores, params=0.5)
    assert [width % (4 if analysis.group(name).size < 16 else 8) for name, width in widths.items()] == [0, 0, 0]


def test_widths_follow_a_groups_step() -> None:
    graph = Graph(seed=0)
    x = graph.input("image", [1, 3, 8, 8]).conv(24).relu()
    x = graph.op("Conv", x, graph.weight(36, 2, 3, 3), group=12, pads=[1, 1, 1, 1]).relu()
    analysis = analyze(graph.ir(x.gap().flatten().gemm(4)))
    assert {group.step for group in analysis.groups if group.resizable} == {12}
    evidence = Evidence(analysis.model, np.random.default_rng(0))
    scores = {g.id: IMPORTANCES["l2"](g, evidence) for g in analysis.groups if g.resizable}
    widths = allocate(analysis, scores, params=0.6, sizing=Sizing(1))
    for name, width in widths.items():
        assert width % analysis.group(name).step == 0


def test_another_budget_is_asked_a_few_times() -> None:
    analysis, scores = analysed(48, 64, 96, 128)
    asked = []

    def clock(widths) -> float:
        asked.append(dict(widths))
        return analysis.cost_at(widths).macs / analysis.macs

    widths = allocate(analysis, scores, latency=0.3, clock=clock)
    assert 0.25 < analysis.cost_at(widths).macs / analysis.macs <= 0.3
    assert len(asked) < 10
    both = allocate(analysis, scores, params=0.9, latency=0.3, clock=clock)
    assert analysis.cost_at(both).macs <= 0.3 * analysis.macs
    assert analysis.cost_at(both).params <= 0.9 * analysis.params


def test_scores_count_within_their_group_unless_they_compare() -> None:
    """Ten times the scores of one group change nothing, where they are normalised; else that group is spared."""
    analysis, scores = analysed(48, 64, 96)
    first = next(iter(scores))
    louder = {**scores, first: 10 * scores[first]}
    assert allocate(analysis, louder, params=0.5) == allocate(analysis, scores, params=0.5)
    raw, loud = (allocate(analysis, of, params=0.5, normalise=False)[first] for of in (scores, louder))
    assert loud >= raw
    assert even(np.zeros(3)).tolist() == [1, 1, 1]


def test_groups_that_are_not_named_keep_their_width() -> None:
    analysis, scores = analysed(48, 64, 96)
    rest = list(scores)[1:]
    assert set(allocate(analysis, {name: scores[name] for name in rest}, params=0.7)) == set(rest)


def test_an_exchange_takes_from_the_worst_and_gives_to_the_best_at_equal_cost() -> None:
    accounts = {"poor": Account.of(64, 0.1 * FLAT, 8, 8), "rich": Account.of(64, 5 * FLAT, 8, 8, 512),
                "middle": Account.of(64, FLAT, 8, 8)}  # fmt: skip
    price = linear(poor=1 / 192, rich=1 / 192, middle=1 / 192)
    start = dict.fromkeys(accounts, 64)
    assert exchange(accounts, start, price, 8 / 192) == {"poor": 56, "rich": 72, "middle": 64}
    after = exchange(accounts, start, price, 0.1)
    assert sum(after.values()) == 192
    assert after["poor"] < 64 < after["rich"]
    assert after["middle"] == 64
    assert exchange(accounts, start, price, 0.0) == start


def test_an_exchange_stops_where_nothing_is_gained() -> None:
    accounts = {name: Account.of(64, FLAT, 8, 8) for name in "abc"}
    price = linear(a=1 / 192, b=1 / 192, c=1 / 192)
    assert exchange(accounts, dict.fromkeys("abc", 64), price, 1.0) == dict.fromkeys("abc", 64)


def test_an_exchange_keeps_to_the_budget_where_prices_are_products() -> None:
    """Two groups in a chain, at unlike prices: what is freed buys other numbers of channels."""
    analysis, scores = analysed(16, 64, 32, 96)
    accounts = {name: Account.of(analysis.group(name).size, even(of), 2, 2) for name, of in scores.items()}
    price = lambda widths: [analysis.cost_at(widths).params / analysis.params]  # noqa: E731
    start = {name: account.size for name, account in accounts.items()}
    after = exchange(accounts, start, price, 0.3)
    assert after != start
    assert 0.98 < price(after)[0] <= 1
    check_shrink(network(16, 64, 32, 96))


def test_what_is_new_is_worth_less_the_more_there_is() -> None:
    """Of units that are not there yet nothing is known: they are taken for as good as the weakest grain."""
    account = Account.of(64, np.arange(64.0), 8, 8, 512)
    weakest, whole = np.arange(8).mean(), np.arange(64).sum()
    assert account.worth(64, 72) == pytest.approx(whole - whole**2 / (whole + 8 * weakest))
    assert account.worth(120, 128) < account.worth(64, 72) < account.worth(56, 64)


def test_a_width_off_the_grid_finds_its_way_to_it() -> None:
    account = Account.of(62, np.ones(31), 8, 10, 70)
    assert (account.grain, account.floor, account.ceiling) == (8, 16, 64)
    assert (account.down(62), account.up(62)) == (56, 64)
    assert (account.down(16), account.up(64)) == (16, 64)


def test_fill_takes_the_best_that_fits() -> None:
    accounts = {"a": Account.of(8, np.ones(8), 8, 8, 64), "b": Account.of(8, 3 * np.ones(8), 8, 8, 64)}
    price = linear(a=1 / 40, b=1 / 40)
    assert fill(accounts, {"a": 8, "b": 8}, price) == {"a": 16, "b": 24}
    assert fill(accounts, {"a": 8, "b": 8}, price, least=1e9) == {"a": 8, "b": 8}
