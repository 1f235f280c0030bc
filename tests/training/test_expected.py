"""Costs in expectation: against sums over all outcomes; and steps that hold a target."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from chanc.cost.polynomial import Polynomial  # noqa: E402
from chanc.training.choices import Gaussian  # noqa: E402
from chanc.training.expected import REACH, RIDGE, SHARE, Expected, Pressure, Price, certain, held, level  # noqa: E402

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


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_all_widths_are_brought_to_what_is_held_by_one_factor() -> None:
    """3 a b at (4, 8) is 96: for 384 twice the widths; of two costs one ends as far above as the other one below."""
    start = doubles(4, 8)
    costs = {"macs": lambda moments: 3 * moments[0, 1] * moments[1, 1], "params": lambda moments: 9 * moments[0, 2]}

    def factor(**pressure: float) -> float:
        return level(Price(costs, Pressure(pressure), certain(start, 2)), start, 2)

    assert factor(macs=384.0) == pytest.approx(2, rel=1e-5)
    assert factor(params=36.0) == pytest.approx(0.5, rel=1e-5)
    assert factor(macs=384.0, params=36.0) == pytest.approx(1, rel=1e-5)
    assert factor() == 1
    assert factor(macs=1e-9) == pytest.approx(1e-3, rel=1e-5)  # out of reach


def test_where_nothing_can_move_the_last_multiplier_counts() -> None:
    """At their bounds all are in each other's way: lambda is that from before, (S step + SHARE gap) / S S^T."""
    stuck = torch.zeros(2, dtype=torch.float64)
    found, multipliers = held(doubles(1, 1), doubles(1, 2)[None], doubles(0.5), doubles(1, 1), stuck, stuck)
    assert found.tolist() == [0, 0]
    assert multipliers.item() == pytest.approx((3 + SHARE * REACH) / (5 * (1 + RIDGE)), rel=1e-12)


def test_a_step_that_holds_costs_is_the_nearest_that_closes_their_gaps() -> None:
    """Against the stationary point of the constrained quadratic with its ridge, solved whole."""
    step, scale = doubles(0.3, -0.2, 0.1, 0.4), doubles(1.0, 4.0, 0.5, 2.0)
    slopes = torch.stack([doubles(0.2, 0.1, 0.4, 0.3), doubles(0.5, 0.0, 0.1, 0.2)])
    gaps = doubles(0.05, -0.08)
    far = torch.full((4,), 1e3).double()
    found, multipliers = held(step, slopes, gaps, scale, -far, far)
    system = torch.zeros(6, 6).double()
    system[:4, :4], system[:4, 4:], system[4:, :4] = torch.diag(1 / scale), slopes.T, slopes
    system[4:, 4:] = -RIDGE * ((slopes * scale) @ slopes.T).trace() * torch.eye(2)
    exact = torch.linalg.solve(system, torch.cat([step / scale, -SHARE * gaps]))
    assert torch.allclose(found, exact[:4], rtol=1e-12)
    assert torch.allclose(multipliers, exact[4:], rtol=1e-12)
    assert torch.allclose(slopes @ found, -SHARE * gaps, atol=2e-3), "the ridge takes no more than that"


def test_what_one_cannot_move_the_others_do() -> None:
    """And a gap that is far counts as one within reach."""
    step, scale, slopes = doubles(0, 0, 0), doubles(100, 1, 1), torch.ones(1, 3).double()
    near = torch.full((3,), 0.02).double()
    found, _ = held(step, slopes, doubles(2.5), scale, -near, near)
    assert found.tolist() == pytest.approx([-0.02, -0.005, -0.005], abs=1e-4)
    stuck, _ = held(step, slopes, doubles(2.5), scale, -near / 10, near)
    assert stuck.tolist() == pytest.approx([-0.002] * 3, rel=1e-6), "nobody can: as far as it goes"


@pytest.mark.parametrize("target", [160.0, 480.0])
def test_the_multiplier_balances_the_loss_at_rest(target: float) -> None:
    """Two widths of one product, a loss that wants them elsewhere: its slopes are lambda times those of the cost."""
    mean = doubles(10, 32).requires_grad_()
    wanted, scale, far = doubles(20, 20), doubles(1, 9), doubles(0.5, 0.5)
    for _ in range(300):
        loss = ((mean - wanted) ** 2).sum() / 2
        gap = (mean.prod() / target).log()
        (pull,), (slope,) = (torch.autograd.grad(of, [mean]) for of in (loss, gap))
        step, multipliers = held(-0.05 * scale * pull, slope[None], gap.detach()[None], 0.05 * scale, -far, far)
        mean = (mean.detach() + step).requires_grad_()
    assert mean.prod().item() == pytest.approx(target, rel=2e-3)
    assert torch.allclose(pull, -multipliers * slope, rtol=1e-5)
    assert (multipliers.item() > 0) == (target < 400)


def test_a_held_cost_adds_nothing_to_the_loss() -> None:
    choice = Gaussian(torch.tensor([64.0], dtype=torch.float64), 8.0, [tuple(range(40, 96, 8))])
    price = Price({"macs": lambda moments: 5 * moments[0, 1]}, Pressure({"macs": 160.0}), widths(choice).detach())
    assert float(price(widths(choice))) == 0
    assert [gap.item() for gap in price.gaps(widths(choice))] == pytest.approx([0.6931472])
    assert Price(price.costs, Pressure({"macs": 160.0}, 0.5), widths(choice).detach()).gaps(widths(choice)) == []
