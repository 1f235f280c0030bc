"""DMaskingNAS (FBNetV2, Wan et al. 2020): a free weight for each width of a fixed range.

    w = softmax((log softmax(alpha) + g) / tau),  g Gumbel noise,    tau = 5.0 * 0.956^epoch
    M[c] = sum over f_k > c of w_k

The network is as wide as its widest option throughout. It is judged, and ends, at the likeliest widths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chanc.study.methods.registry import register
from chanc.study.methods.supernet._common import Masking

if TYPE_CHECKING:
    import torch

    from chanc.training.choices import Choices, Free, Options
    from chanc.training.masking import MaskedEpoch, Unit


@register("dmask")
@dataclass(frozen=True)
class DMask(Masking):
    """Widths inside one training: a Gumbel softmax over a fixed range for each group.

    low, high: the range as shares of the model's width, within the bounds. tau, decay: the temperature at the start,
    and what each epoch makes of it.
    """

    low: float = field(default=0.0, metadata={
        "help": "Least width, a share of the model's; --min-width bounds it.", "range": (0, math.inf)})
    high: float = field(default=2.0, metadata={
        "help": "Largest width, a share of the model's; --max-width bounds it.", "range": (0.01, math.inf)})
    tau: float = field(default=5.0, metadata={
        "help": "Temperature of the Gumbel softmax at the start.", "range": (0.01, math.inf)})
    decay: float = field(default=0.956, metadata={
        "help": "What the temperature is multiplied by after each epoch.", "range": (0.01, 1)})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise ValueError(f"low {self.low} lies above high {self.high}")

    def begin(self, units: Sequence[Unit], device: torch.device, level: float) -> Choices:
        """All widths of the range alike, whatever they cost."""
        from chanc.training.choices import Free

        return Free([self._range(unit) for unit in units], self.tau, device)

    def advance(self, choices: Free, units: Sequence[Unit], epoch: int, epochs: int) -> None:
        """Cool down."""
        choices.tau = self.tau * self.decay**epoch

    def figures(self, seen: MaskedEpoch) -> Mapping[str, Mapping[str, float]]:
        """Nothing but what all have."""
        return {}

    def _range(self, unit: Unit) -> Options:
        """Multiples of the step; one at least."""
        first = max(unit.low, math.ceil(self.low * unit.start / unit.step) * unit.step)
        last = max(first, min(unit.high, math.floor(self.high * unit.start / unit.step) * unit.step))
        return tuple(range(first, last + 1, unit.step))
