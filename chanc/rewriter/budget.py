"""Budgets of a rewrite: what the result may cost, counted or measured, as a number or as a share of what the model has.

Each group's units are scored by an importance; `chanc.rewriter.allocate` turns scores and budgets into widths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis
from chanc.errors import PlanError
from chanc.rewriter.allocate import Widths, allocate
from chanc.rewriter.importance import Scores
from chanc.rewriter.plan import Sizing

Amount = int | float | str
"""A number, or a share of what the model has: "50%"."""
Clock = Callable[[ir.Model], float]
"""Seconds that a model takes for one input."""
Resize = Callable[[ir.Model, Widths], ir.Model]


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper bounds of params, MACs and milliseconds, None where there is none; `clock` says what a model takes."""

    params: Amount | None = None
    macs: Amount | None = None
    latency: Amount | None = None
    clock: Clock | None = None

    def __bool__(self) -> bool:
        return (self.params, self.macs, self.latency) != (None, None, None)

    def widths(
        self, analysis: Analysis, scores: Mapping[str, Scores], fixed: Widths, sizing: Sizing, *,
        compare: bool, resize: Resize,
    ) -> Widths:  # fmt: skip
        """The widths that are worth most within all budgets, by group id, those that are `fixed` among them.

        scores: of the units of each group that may shrink. compare: scores mean the same in all groups. resize: makes
        the model of some widths, for the clock. A model that is within its budgets keeps its widths.

        Raises: PlanError for budgets that can't be met, or make no sense.
        """
        counts = {"params": self._count(self.params, analysis.params), "macs": self._count(self.macs, analysis.macs)}
        cost = analysis.cost_at(fixed)
        over = any(limit is not None and getattr(cost, name) > limit for name, limit in counts.items())
        clock = self._stopwatch(analysis, resize) if self.latency is not None else None
        found = allocate(
            analysis, scores, **(counts if over else {}), latency=self._ms(clock) if clock is not None else None,
            clock=clock, fixed=fixed, normalise=not compare, sizing=sizing,
        )  # fmt: skip
        return {**fixed, **found}

    def _count(self, given: Amount | None, own: int) -> int | None:
        if given is None:
            return None
        limit = amount(given, own)
        if limit < 1:
            raise PlanError(f"a budget of {given} is less than one: a share is written with a sign, as '50%'")
        return int(limit)

    def _ms(self, clock: Callable[[Widths], float]) -> float:
        """The latency's bound in milliseconds."""
        assert self.latency is not None
        return amount(self.latency, clock({}) if isinstance(self.latency, str) else 0.0)

    def _stopwatch(self, analysis: Analysis, resize: Resize) -> Callable[[Widths], float]:
        """Milliseconds of the model at some widths, each measured once."""
        known: dict[tuple[tuple[str, int], ...], float] = {}
        if self.clock is None:
            raise PlanError("a latency needs a clock: `chanc.rewrite` has onnxruntime's")
        clock = self.clock

        def ms(widths: Widths) -> float:
            changed = {name: width for name, width in widths.items() if width != analysis.group(name).size}
            key = tuple(sorted(changed.items()))
            if key not in known:
                known[key] = 1e3 * clock(resize(analysis.model, changed) if changed else analysis.model)
            return known[key]

        return ms


def amount(value: Amount, whole: float) -> float:
    """A number above 0, or a share of the whole. Raises: PlanError where it is neither."""
    share = isinstance(value, str) and value.strip().endswith("%")
    try:
        number = float(value.strip().rstrip("%")) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < np.inf:
        raise PlanError(f"a budget is a number above 0 or a share such as '50%', not {value!r}")
    return number * whole / 100 if share else number
