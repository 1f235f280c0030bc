"""Widths by what units are worth: channels go from the groups that need them least to those that need them most.

    effect of a unit = mean over batches of |sum W dL/dW| over all that reads it       (first-order change of the loss)
    worth of a move  = sum of the group's effects * |1 / n - 1 / n'|,    ratio = worth / what the move costs
    a trial          = grains from the lowest ratios to the highest, at the cost of the first trial; then an epoch

Which units go is told by their own effects; how many, by those of the whole group: new units begin without any, and
would be the first to go again. The public relative is NeuralScale (Lee & Lee 2020, CVPR workshops), which reads widths
off a network that such scores prune. Here groups grow as well, and weights go on from trial to trial.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from chanc.rewriter.allocate import WIDEST, Account, Crew, casewise, exchange
from chanc.runs import State, Trial
from chanc.study.methods.protocol import Measurement
from chanc.study.methods.registry import register
from chanc.study.methods.sampler import Proposal, Sampler, start_widths
from chanc.study.space import Counter, Space, Widths


@register("taylor")
@dataclass(frozen=True)
class Taylor(Sampler):
    """Move channels to where the loss hangs on them most, for their cost.

    The first trial trains the start widths, each later one an epoch of what came of the one before it; what comes of
    the last one is the answer. start_width: channels of every group in the first trial, 0 keeps the model's own.
    equal: what all trials cost alike, where no target says it. move: the share of the cost that changes hands after
    the first trial; it falls to nothing, in a line, until the last.
    """

    wants_evidence: ClassVar[bool] = True

    trials: int = 12
    min_width: int = 4
    max_width: int = 4096
    start_width: int = field(default=0, metadata={
        "help": "Channels of each group in trial 1; 0: the model's.", "range": (0, math.inf)})
    equal: Counter = field(default="params", metadata={"help": "What all trials cost alike, without a target."})
    move: float = field(default=0.4, metadata={
        "help": "Share of the cost that changes hands at first.", "range": (0, 1)})

    def start(self, space: Space) -> tuple[Widths, State]:
        """The start widths."""
        return start_widths(space, self.limits, self.start_width), {"measured": 0, "costs": None, "last": None}

    def ask(self, space: Space, state: State, n: int) -> tuple[list[Trial], State]:
        """The next trial: an epoch, but for the first that works, and for those that start from fresh weights."""
        epochs = None if self.fresh or state["good"] is None else 1
        asked, state = super().ask(space, state, n)
        return [dataclasses.replace(trial, epochs=epochs) for trial in asked], state

    def propose(self, space: Space, state: State, seen: Measurement) -> Proposal:
        """Exchange grains at the cost of the first trial."""
        own = dict(self.target.counts(space)) or {self.equal: space.count(seen.widths, self.equal)}
        costs: dict[Counter, float] = state["costs"] or own
        left = 1 - state["measured"] / max(self.trials - 1, 1)

        def price(widths: Mapping[str, float]) -> list[float]:
            return [space.count(widths, counter) / cost for counter, cost in costs.items()]

        widths = exchange(
            self._accounts(space, seen), dict(seen.widths), casewise(price), self.move * max(left, 0.0)
        )
        after = {"measured": state["measured"] + 1, "costs": costs, "last": dict(seen.widths)}
        return Proposal(widths, after)

    def best(self, state: State) -> Widths:
        """The widths of the last trial."""
        return dict(state["last"])

    def _accounts(self, space: Space, seen: Measurement) -> dict[str, Account]:
        """The groups of which anything is known, with what their units are worth."""
        accounts = {}
        for group in space.resizable:
            effect = seen.evidence.effect(group.id) if seen.evidence is not None else None
            if effect is not None:
                low, high = self.limits.bounds(group)
                size, grain = seen.widths[group.id], self.limits.quantum(group)
                accounts[group.id] = Crew.of(size, effect.absolute, grain, low, min(high, max(WIDEST * size, low)))
        return accounts
