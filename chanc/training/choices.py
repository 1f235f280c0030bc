"""Widths as trainable choices among options: how likely each is, and what mask and moments follow from that.

    f_k     options of a unit, in channels, ascending          w_k   their weights
    M[c]    = sum over f_k > c of w_k                          the mask of channel c: 1 for c < f_1
    E[f^p]  = sum w_k f_k^p                                    what a cost is made of; E[f] = sum_c M[c]

Gaussian (FlexCHarts, Eq. 4): one mean a unit, alpha_k = exp(-1/2 ((f_k - mu) / sigma)^2), w = alpha / sum(alpha); the
options follow the mean from epoch to epoch.   Free (FBNetV2): one alpha an option, w = gumbel_softmax(alpha, tau).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Options = tuple[int, ...]


def around(mean: float, step: int, count: int, low: int, high: int) -> Options:
    """Odd `count` options in distances of `step` around a mean, those beyond the bounds moved onto them."""
    centre = round(mean / step) * step
    return tuple(sorted({min(max(centre + (k - count // 2) * step, low), high) for k in range(count)}))


def tails(weights: Tensor) -> Tensor:
    """The weight of an option and of all wider ones: [units, options] both."""
    return weights.flip(1).cumsum(1).flip(1)


def gumbel(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Gumbel noise, -log of exponential noise, drawn on the CPU."""
    return -torch.empty(shape).exponential_(generator=generator).clamp_min_(1e-30).log_()


class Choices(ABC):
    """One choice a unit: `options` [units, most], `there` tells which exist, `parameter` is what trains.

    Weights are [units, most], 0 where there is no option.
    """

    parameter: nn.Parameter
    options: Tensor
    there: Tensor
    normalised = True

    def _set(self, options: Sequence[Options], like: Tensor) -> None:
        most = max(map(len, options))
        rows = [[*row, *[row[-1]] * (most - len(row))] for row in options]
        self.options = torch.tensor(rows, dtype=like.dtype, device=like.device)
        lengths = torch.tensor([len(row) for row in options], device=like.device)
        self.there = torch.arange(most, device=like.device) < lengths[:, None]

    @abstractmethod
    def scores(self) -> Tensor:
        """What the weights are the softmax of."""

    @abstractmethod
    def draw(self, noise: Tensor) -> Tensor:
        """The weights of a step, which a gradient goes through."""

    @abstractmethod
    def judged(self) -> Tensor:
        """The weights by which the network is evaluated."""

    @abstractmethod
    def clamp(self) -> None:
        """Bring the parameter back to where it means something, after a step."""

    @abstractmethod
    def decided(self) -> list[float]:
        """The width of each unit that the choice has come to, in channels."""

    def centres(self) -> list[float]:
        """What the weights of each unit are centred on, in channels."""
        return self.decided()

    def leans(self) -> bool:
        """Whether a unit is held back by its first or its last option."""
        return False

    def state(self) -> dict[str, Tensor]:
        """What is chosen among, and what trains."""
        return {"parameter": self.parameter.detach(), "options": self.options, "there": self.there}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        device = self.parameter.device
        self.parameter.copy_(state["parameter"])
        self.options, self.there = state["options"].to(device), state["there"].to(device)

    def logarithms(self) -> Tensor:
        """Those of the weights, -inf where there is no option."""
        return self.scores().masked_fill(~self.there, -torch.inf).log_softmax(1)

    def weights(self) -> Tensor:
        """How likely each option is."""
        return self.logarithms().exp()

    def sample(self, noise: Tensor) -> Tensor:
        """One option a unit, drawn by the weights: 1 there, 0 elsewhere."""
        return self._one(self.logarithms() + noise)

    def _one(self, scores: Tensor) -> Tensor:
        return torch.zeros_like(scores).scatter_(1, scores.argmax(1, keepdim=True), 1.0)

    def moments(self, weights: Tensor, degree: int) -> Tensor:
        """E[f^p] for p from 0 to `degree`: [units, degree + 1], in double precision."""
        shares = (weights / weights.sum(1, keepdim=True)).double()
        powers = torch.arange(degree + 1, device=weights.device)
        return (shares[:, :, None] * self.options.double()[:, :, None] ** powers).sum(1)

    def factors(self, weights: Tensor) -> Tensor:
        """The masks' entries (`chanc.training.masks`): 1, and then the tail of each option of each unit."""
        rest = tails(weights)
        first = torch.ones_like(rest[:, :1]) if self.normalised else rest[:, :1]
        return torch.cat([weights.new_ones(1), torch.cat([first, rest[:, 1:]], 1).flatten()])


class Gaussian(Choices):
    """FlexCHarts' mean of each unit [units], in channels, and deviations (one, or [units]); see the head of the file.

    normalised: whether alpha is divided by its sum; the paper's isn't. unit: what trains is no mean itself, as the
    paper's, but unit * log(mean). A step as Adam's, alike for all, then moves each mean in proportion to it, and one of
    `unit` channels by as much as in the paper: a price that is high leaves the shape of a network as it is, and a
    narrow group, whose channels cost the most, doesn't swing around the target for all others.
    """

    def __init__(
        self, mean: Tensor, sigma: Tensor | float, options: Sequence[Options], *, normalised: bool = True,
        unit: float | None = None,
    ) -> None:  # fmt: skip
        self._unit = unit
        self.parameter = nn.Parameter(self._trained(mean))
        self.sigma = torch.as_tensor(sigma, dtype=mean.dtype, device=mean.device).expand(mean.shape)
        self.normalised = normalised
        self.choose_among(options)

    @property
    def mean(self) -> Tensor:
        """The means [units], in channels."""
        return self.parameter if self._unit is None else (self.parameter / self._unit).exp()

    def _trained(self, mean: Tensor) -> Tensor:
        return mean if self._unit is None else self._unit * mean.log()

    def choose_among(self, options: Sequence[Options]) -> None:
        """Take other options."""
        self._set(options, self.parameter)
        self.clamp()

    def scores(self) -> Tensor:
        """The logarithm of alpha."""
        return -0.5 * ((self.options - self.mean[:, None]) / self.sigma[:, None]) ** 2

    def draw(self, noise: Tensor) -> Tensor:
        """The weights themselves: nothing is drawn."""
        return self.weights() if self.normalised else self.scores().exp() * self.there

    def judged(self) -> Tensor:
        """The same as in training."""
        return self.draw(self.options)

    @torch.no_grad()
    def clamp(self) -> None:
        """Means stay within their options."""
        self.parameter.clamp_(self._trained(self.options[:, 0]), self._trained(self.options[:, -1]))

    @torch.no_grad()
    def decided(self) -> list[float]:
        """The expected widths: next to a bound the network is wider, or narrower, than its means."""
        return [float(width) for width in self.moments(self.weights(), 1)[:, 1].tolist()]

    def leans(self) -> bool:
        """Whether a mean is at a border: `clamp` holds it there."""
        low, high = self._trained(self.options[:, 0]), self._trained(self.options[:, -1])
        return bool(((self.parameter <= low) | (self.parameter >= high)).any())

    def centres(self) -> list[float]:
        """The means."""
        return [float(mean) for mean in self.mean.tolist()]


class Free(Choices):
    """FBNetV2's alpha for each option, all alike at first; `tau` is the temperature."""

    def __init__(self, options: Sequence[Options], tau: float, device: torch.device) -> None:
        self._set(options, torch.empty(0, device=device))
        self.parameter = nn.Parameter(torch.zeros_like(self.options))
        self.tau = tau

    def scores(self) -> Tensor:
        """Alpha."""
        return self.parameter

    def draw(self, noise: Tensor) -> Tensor:
        """The Gumbel softmax."""
        return ((self.logarithms() + noise) / self.tau).softmax(1)

    def judged(self) -> Tensor:
        """The likeliest option alone."""
        return self._one(self.weights())

    def clamp(self) -> None:
        """Any alpha means something."""

    def decided(self) -> list[float]:
        """The likeliest options."""
        return [float(width) for width in (self.judged() * self.options).sum(1).tolist()]
