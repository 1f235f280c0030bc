"""FlexCHarts (Yüzügüler, Dimitriadis, Frossard): a mean width a group that trains, and a range that follows it.

    alpha_k = exp(-1/2 ((f_k - mu) / sigma)^2),    w = alpha / sum(alpha),    M[c] = sum over f_k > c of w_k

At each epoch's start f_k = round(mu / s) s + (k - (K + 1) / 2) s, within the bounds, and the weights are resized to the
widest of them: what a search holds is no wider than what it considers now.

The first means are the model's widths; where a target is held all of them times one factor, so that a search costs what
it shall from the start, and neither the size of the model nor the way from it to the target decides what is found.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from chanc.study.methods.registry import register
from chanc.study.methods.supernet._common import Masking

if TYPE_CHECKING:
    import torch

    from chanc.training.choices import Choices, Gaussian, Options
    from chanc.training.masking import MaskedEpoch, Unit


UNIT = 8
"""Steps of a width that moves alike at both paces: 64 channels, of the paper's 36 to 144."""


@register("flexcharts")
@dataclass(frozen=True)
class FlexCharts(Masking):
    """Widths inside one training: each mean moves by gradient, its range along with it.

    sigma, last_sigma: in steps, in the first and in the last epoch, and along a line between them: a wide bell finds
    its way, a narrow one stands for the network that will be built; the paper's is 2 throughout. candidates: K, odd.
    weights: "paper" doesn't divide alpha by its sum (Eq. 4 as it stands). pace: the paper's is "channels".
    """

    sigma: float = field(default=4.0, metadata={
        "help": "Deviation of the weights around their mean width at first, in steps.", "range": (0.1, math.inf)})
    last_sigma: float = field(default=1.0, metadata={
        "help": "The same in the last epoch.", "range": (0.1, math.inf)})
    candidates: int = field(default=13, metadata={
        "help": "Widths that a mask chooses from, an odd number.", "range": (3, 999)})
    weights: Literal["normalised", "paper"] = field(default="normalised", metadata={
        "help": "Whether the weights of the widths sum to one, or are as in the paper."})

    pace: Literal["relative", "channels"] = field(default="relative", metadata={
        "help": "A step of the masks moves all means by about --mask-lr channels, or each in proportion to its width, "
                "one of eight --step by as many."})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.candidates % 2 == 0:
            raise ValueError(f"candidates must be an odd number, not {self.candidates}")

    def begin(self, units: Sequence[Unit], device: torch.device, level: float) -> Choices:
        """The means in the model's proportions, at the target where one is held: at the model's widths without one."""
        import torch

        from chanc.training.choices import Gaussian

        near = [min(max(level * unit.start, unit.low), unit.high) for unit in units]
        means = torch.tensor(near, dtype=torch.float32, device=device)
        steps = torch.tensor([float(unit.step) for unit in units], device=device)
        return Gaussian(means, self.sigma * steps, self._options(means.tolist(), units),
                        normalised=self.weights == "normalised",
                        unit=UNIT * self.step if self.pace == "relative" else None)  # fmt: skip

    def advance(self, choices: Gaussian, units: Sequence[Unit], epoch: int, epochs: int) -> None:
        """Centre the ranges, and narrow the bells: they are never wider than a typical group is.

        Else a narrow network would be nothing but bells cut off at their lower ends, and cost too much wherever they
        stand. A group that is much narrower than the others has their bell, and can see far.
        """
        means, done = choices.centres(), epoch / max(1, epochs - 1)
        typical = statistics.median(mean / unit.step for mean, unit in zip(means, units, strict=True))
        sigma = min(self.sigma + (self.last_sigma - self.sigma) * done, max(self.last_sigma, typical))
        choices.sigma = choices.sigma.new_tensor([sigma * unit.step for unit in units])
        choices.choose_among(self._options(means, units))

    def figures(self, seen: MaskedEpoch) -> Mapping[str, Mapping[str, float]]:
        """The means."""
        return {"mu": seen.means}

    def _options(self, means: Sequence[float], units: Sequence[Unit]) -> list[Options]:
        from chanc.training.choices import around

        return [around(mean, unit.step, self.candidates, unit.low, unit.high)
                for mean, unit in zip(means, units, strict=True)]  # fmt: skip
