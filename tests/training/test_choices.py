"""Choices among widths: closed forms, masks that are never above 1, ranges, Gumbel noise."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from chanc.training.choices import Free, Gaussian, around, gumbel, tails  # noqa: E402

DOUBLE = torch.float64
CPU = torch.device("cpu")


def gaussian(mean: float, sigma: float, options: tuple[int, ...], **form: bool) -> Gaussian:
    return Gaussian(torch.tensor([mean], dtype=DOUBLE), sigma, [options], **form)


def slope(value: torch.Tensor, choice: Gaussian) -> float:
    return float(torch.autograd.grad(value, choice.parameter, retain_graph=True)[0])


def test_two_options_by_hand() -> None:
    """Options 4 and 8, sigma 4, mu 5."""
    choice = gaussian(5.0, 4.0, (4, 8))
    weights = choice.weights()
    assert weights[0, 1].item() == pytest.approx(0.43782, abs=5e-6)
    assert slope(weights[0, 1], choice) == pytest.approx(0.061534, abs=5e-7)
    width = choice.moments(weights, 1)[0, 1]
    assert slope(width, choice) == pytest.approx(0.246134, abs=5e-7)


@pytest.mark.parametrize(("sigma", "count", "expected"), [(16.0, 13, 0.9879), (8.0, 5, 0.9243)])
def test_a_mean_moves_the_expected_width_by_its_variance(sigma: float, count: int, expected: float) -> None:
    """Of a cost a E[f] the gradient is a Var(f) / sigma^2: of a centred range nearly a itself."""
    choice = gaussian(64.0, sigma, around(64.0, 8, count, 8, 512))
    moments = choice.moments(choice.weights(), 2)[0]
    variance = (moments[2] - moments[1] ** 2).item()
    assert slope(3 * moments[1], choice) == pytest.approx(3 * variance / sigma**2, rel=1e-12)
    assert slope(moments[1], choice) == pytest.approx(expected, abs=1e-4)


def test_a_mask_is_the_tail_of_its_weights() -> None:
    """Channel c of sixteen is as much there as wider options weigh; together they are the expected width."""
    choice = gaussian(9.0, 4.0, (4, 8, 12, 16))
    weights = choice.weights()[0]
    mask = torch.stack([weights[torch.tensor([4, 8, 12, 16]) > c].sum() for c in range(16)])
    factors = choice.factors(choice.weights())
    assert torch.allclose(factors[1:].repeat_interleave(4), mask, rtol=0, atol=1e-15)
    assert mask.sum().item() == pytest.approx(choice.moments(choice.weights(), 1)[0, 1].item())
    for c in range(16):
        moved = slope(mask[c], choice)
        assert moved >= -1e-15
        wider = torch.tensor([4, 8, 12, 16]) > c
        mean = choice.moments(choice.weights(), 1)[0, 1]
        by_hand = (weights[wider] * (choice.options[0][wider] - mean)).sum() / 16
        assert moved == pytest.approx(by_hand.item(), abs=1e-12)


def test_the_first_channels_are_always_whole() -> None:
    """Exactly, in single precision, whatever the weights sum to; as in the paper they are what alpha sums to."""
    options = around(100.0, 8, 13, 8, 512)
    for mean in (60.0, 100.0, 141.0):
        choice = Gaussian(torch.tensor([mean]), 16.0, [options])
        factors = choice.factors(choice.draw(torch.zeros(1, 13)))
        assert factors[0] == factors[1] == 1
    paper = Gaussian(torch.tensor([100.0]), 16.0, [options], normalised=False)
    alpha = torch.exp(-0.5 * ((torch.tensor(options) - 100) / 16) ** 2)
    assert torch.allclose(paper.factors(paper.judged())[1:], tails(alpha[None])[0])
    assert torch.allclose(paper.moments(paper.judged(), 1), choice_like(paper).moments(choice_like(paper).weights(), 1))


def choice_like(paper: Gaussian) -> Gaussian:
    return Gaussian(paper.parameter.detach(), 16.0, [tuple(int(f) for f in paper.options[0])])


@pytest.mark.parametrize(("mean", "low", "high", "expected"), [
    (63.0, 8, 512, (40, 48, 56, 64, 72, 80, 88)),
    (20.0, 8, 512, (8, 16, 24, 32, 40)),
    (500.0, 8, 512, (472, 480, 488, 496, 504, 512)),
    (2.0, 8, 16, (8, 16)),
])  # fmt: skip
def test_a_range_follows_its_mean(mean: float, low: int, high: int, expected: tuple[int, ...]) -> None:
    """In steps, and onto the bounds, which are options then."""
    assert around(mean, 8, 7, low, high) == expected


def test_a_mean_stays_within_its_range() -> None:
    choice = Gaussian(torch.tensor([5.0, 90.0]), 8.0, [(8, 16, 24), (16, 24)])
    assert choice.centres() == [8.0, 24.0]
    assert choice.weights()[1, 2] == 0


def test_at_a_bound_the_decision_is_what_was_trained() -> None:
    """Not the mean, half of whose bell isn't there: weights 1, exp(-1/2), exp(-2), by hand."""
    choice = gaussian(8.0, 8.0, (8, 16, 24))
    by_hand = (8 + 16 * math.exp(-0.5) + 24 * math.exp(-2)) / (1 + math.exp(-0.5) + math.exp(-2))
    assert choice.decided() == [pytest.approx(by_hand)]
    assert gaussian(60.0, 16.0, around(60.0, 8, 13, 8, 512)).decided() == [pytest.approx(60.0, abs=0.1)]


def test_relative_means_move_in_proportion() -> None:
    """By one step of Adam, alike for all that trains; one of the unit's width moves by Adam's rate."""
    choice = Gaussian(torch.tensor([8.0, 64.0], dtype=DOUBLE), 8.0, [(8, 16, 24), (32, 64, 96)], unit=64.0)
    adam = torch.optim.Adam([choice.parameter], lr=0.1, betas=(0.5, 0.999))
    (choice.parameter.grad,) = torch.autograd.grad(-choice.mean.sum(), [choice.parameter])
    adam.step()
    assert choice.centres() == [pytest.approx(8.0125, abs=1e-4), pytest.approx(64.1, abs=1e-4)]
    choice.choose_among([(16, 24), (8, 16)])
    assert choice.centres() == [pytest.approx(16), pytest.approx(16)]


def test_units_with_fewer_options_have_no_others() -> None:
    """Padding has no weight, no moment, and is never drawn; gradients are numbers."""
    choice = Free([(4, 8), (4, 8, 12, 16)], 5.0, CPU)
    noise = gumbel((2, 4), torch.Generator().manual_seed(0))
    weights = choice.draw(noise)
    assert weights[0, 2:].tolist() == [0, 0]
    (gradient,) = torch.autograd.grad((choice.moments(weights, 2) ** 2).sum(), choice.parameter)
    assert torch.isfinite(gradient).all()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([choice.sample(gumbel((2, 4), generator)) for _ in range(200)])
    assert drawn[:, 0, 2:].sum() == 0
    assert (drawn.sum(2) == 1).all()


@pytest.mark.parametrize("tau", [0.2, 5.0])
def test_gumbel_noise_draws_by_the_weights(tau: float) -> None:
    """The likeliest option of a draw is distributed as softmax(alpha) at any temperature."""
    choice, count = Free([(8, 16, 24)], tau, CPU), 40_000
    with torch.no_grad():
        choice.parameter.copy_(torch.tensor([[1.0, 0.0, -1.0]]))
    noise = gumbel((count, 3), torch.Generator().manual_seed(1))
    one = torch.nn.functional.one_hot(choice.draw(noise).argmax(1), 3).double().mean(0)
    expected = torch.softmax(torch.tensor([1.0, 0.0, -1.0]).double(), 0)
    assert torch.allclose(one, expected, rtol=0, atol=4 * math.sqrt(0.25 / count))


def test_a_free_choice_ends_at_its_likeliest_width() -> None:
    choice = Free([(8, 16, 24), (4, 8)], 1.0, CPU)
    with torch.no_grad():
        choice.parameter.copy_(torch.tensor([[0.0, 2.0, 1.0], [0.5, 0.1, 9.0]]))
    assert choice.decided() == [16.0, 4.0]
    assert choice.factors(choice.judged()).tolist() == [1, 1, 1, 0, 1, 0, 0]
