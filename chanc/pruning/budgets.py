"""A budget on the way to itself: what each step of a pruning may cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chanc.errors import PlanError
from chanc.rewriter.budget import Amount, amount


@dataclass(frozen=True, slots=True)
class Budgets:
    """Upper bounds of params, MACs and milliseconds: numbers, or shares of what the model has; None: no bound."""

    params: Amount | None = None
    macs: Amount | None = None
    latency: Amount | None = None

    def __post_init__(self) -> None:
        if (self.params, self.macs, self.latency) == (None, None, None):
            raise PlanError("pruning needs a budget: params, MACs, or a latency")

    def at(self, share: float, params: int, macs: int, milliseconds: Callable[[], float]) -> dict[str, float]:
        """The bounds when `share` (0 to 1) of the way is behind, as arguments of `chanc.rewrite`.

        Each step takes away the same part of what is there: own (bound / own)^share. params, macs, milliseconds: what
        the model had at first; the last one is measured where a latency is asked for. A bound above that stays.
        """
        own = {"params": params, "macs": macs}
        bounds = {}
        for name in ("params", "macs", "latency"):
            given: Amount | None = getattr(self, name)
            if given is None:
                continue
            whole = own[name] if name in own else milliseconds()
            last = amount(given, whole)
            bounds[f"max_{name}"] = whole * min(last / whole, 1.0) ** share if share < 1 else last
        return bounds
