"""Costs in expectation: against sums over all outcomes; and the weight that follows a target."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from chanc.cost.polynomial import Polynomial  # noqa: E402
from chanc.training.choices import Gaussian  # noqa: E402
from chanc.training.expected import Expected, Pressure, Price  # noqa: E402

CPU = torch.device("cpu")


def test_the_expectation_is_the_sum_over_all_outcomes() -> None:
    """Two units, one of which meets itself: E[a b], E[a^2], and a constant."""
    choice = Gaussian(torch.tensor([9.0, 20.0], dtype=torch.float64), 6.0, [(4, 8, 12), (16, 24)])
    a, b = Polynomial.symbol(0), Polynomial.symbol(1)
    cost = a * b * 9.0 + a * a * 4.0 + b * 3.0 + Polynomial({(): 10.0})
    weights = choice.weights()
    expected = Expected(cost, CPU)
    assert expected.degree == 2
    total = sum(
        weights[0, i] * weights[1, j] * (9 * f * g + 4 * f * f + 3 * g + 10)
        for (i, f), (j, g) in itertools.product(enumerate((4, 8, 12)), enumerate((16, 24)))
    )
    found = expected(choice.moments(weights, 2))
    assert found.item() == pytest.approx(total.item(), rel=1e-12)
    mine, theirs = (torch.autograd.grad(value, choice.parameter, retain_graph=True)[0] for value in (found, total))
    assert torch.allclose(mine, theirs, rtol=1e-12, atol=0)


def test_a_constant_costs_what_it_costs() -> None:
    assert float(Expected(7, CPU)(torch.ones(2, 2, dtype=torch.float64))) == 7


def widths(choice: Gaussian) -> torch.Tensor:
    return choice.moments(choice.weights(), 1)


def test_fixed_weights() -> None:
    """lambda cost / start; with a target lambda |log(cost / target)|; lambda 0 is no pressure at all."""
    choice = Gaussian(torch.tensor([64.0], dtype=torch.float64), 8.0, [tuple(range(40, 96, 8))])
    start = widths(choice).detach()
    costs = {"macs": lambda moments: 5 * moments[0, 1]}
    assert Price(costs, Pressure({}, 0.01), start)(widths(choice)).item() == pytest.approx(0.01)
    aimed = Price(costs, Pressure({"macs": 160.0}, 0.5), start)
    assert aimed(widths(choice)).item() == pytest.approx(0.5 * 0.6931472)
    free = Price(costs, Pressure({}, 0.0), start)(widths(choice))
    assert float(torch.autograd.grad(free, choice.parameter)[0]) == 0


@pytest.mark.parametrize("target", [160.0, 480.0])
def test_a_dual_follows_the_gap_to_its_target(target: float) -> None:
    """From both sides, against a loss that pulls elsewhere; what it ends with balances that pull."""
    choice = Gaussian(torch.tensor([64.0], dtype=torch.float64), 16.0, [tuple(range(8, 161, 8))])
    costs = {"macs": lambda moments: 5 * moments[0, 1]}
    price = Price(costs, Pressure({"macs": target}, rate=0.1), widths(choice).detach())
    adam = torch.optim.Adam([choice.parameter], lr=1.0, betas=(0.5, 0.999))
    for _ in range(120):
        moments = widths(choice)
        total = (moments[0, 1] - 64) ** 2 / 4000 + price(moments)
        (choice.parameter.grad,) = torch.autograd.grad(total, [choice.parameter])
        adam.step()
        choice.clamp()
    assert (5 * widths(choice)[0, 1]).item() == pytest.approx(target, rel=0.05)
    assert (price.weights["macs"].item() > 0) == (target < 320)


@pytest.mark.parametrize("target", [20.0, 5120.0])
def test_far_from_its_target_a_dual_stays_in_reach(target: float) -> None:
    """A gap of 2.77 pulls and teaches as one of a tenth does: (0 + 10 * 0.1) d gap / d mu, lambda += 0.01 * 0.1."""
    choice = Gaussian(torch.tensor([64.0], dtype=torch.float64), 16.0, [tuple(range(16, 113, 8))])
    price = Price({"macs": lambda moments: 5 * moments[0, 1]}, Pressure({"macs": target}), widths(choice).detach())
    (pull,) = torch.autograd.grad(price(widths(choice)), [choice.parameter])
    (log,) = torch.autograd.grad(widths(choice)[0, 1].log(), [choice.parameter])
    side = 1 if target < 320 else -1
    assert pull.item() == pytest.approx(side * log.item(), rel=1e-12)
    assert price.weights["macs"].item() == pytest.approx(side * 0.001)
