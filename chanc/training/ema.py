"""An exponential moving average of a module's weights and statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TypedDict

import torch
from torch import Tensor, nn


class EmaState(TypedDict):
    """The averages by name, and how many updates they had."""

    updates: int
    shadow: dict[str, Tensor]


class Ema:
    """Shadow copies of every floating-point parameter and buffer: shadow += (1 - d) (live - shadow) a step.

    d = min(decay, (1 + n)/(10 + n)) after n steps, so that a short run is not dominated by its first weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._live = {name: value for name, value in module.state_dict().items() if value.is_floating_point()}
        self.shadow = {name: value.clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the module's present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.shadow.values()), list(self._live.values()), 1 - decay)
        self.updates += 1

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the module holds the averages; afterwards its own weights again."""
        own = {name: value.clone() for name, value in self._live.items()}
        self.apply()
        try:
            yield
        finally:
            _copy(own, self._live)

    def apply(self) -> None:
        """Put the averages into the module for good."""
        _copy(self.shadow, self._live)

    def follow(self, module: nn.Module, shadow: Mapping[str, Tensor]) -> None:
        """Go on with a module whose tensors have changed their shapes, from averages of the new ones."""
        self._live = {name: value for name, value in module.state_dict().items() if value.is_floating_point()}
        self.shadow = {name: shadow[name] for name in self._live}

    def state_dict(self) -> EmaState:
        """The averages and the count of updates."""
        return {"updates": self.updates, "shadow": dict(self.shadow)}

    def load_state_dict(self, state: EmaState) -> None:
        """Take back what `state_dict` gave, for the same module."""
        self.updates = state["updates"]
        _copy(state["shadow"], self.shadow)


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, value in target.items():
        value.copy_(source[name])
