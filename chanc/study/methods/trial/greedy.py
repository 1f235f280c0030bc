"""Greedy channel search (CONetV2, Wang et al. 2021, Algorithm 2).

    m_t = gamma m_{t-1} + mean over the group's members of QC,   dm = m_t - m_{t-1}
    n'  = quantum * round(n clip(1 + dm, 0.5, 2) / quantum),     half to even, clamped to [min_width, max_width]

gamma decides in effect how large the found model is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from chanc.metrics.cumulative import cumulative
from chanc.runs import State
from chanc.study.methods.protocol import Measurement
from chanc.study.methods.registry import register
from chanc.study.methods.sampler import Proposal, Sampler, start_widths
from chanc.study.space import Space, Widths


@register("greedy")
@dataclass(frozen=True)
class Greedy(Sampler):
    """Follow the change of each group's momentum-averaged quality.

    gamma: weight of the past. start_width: width of the first trial in channels, 0 keeps the model's own.
    first_step: what follows the first trial, "+16" (every width plus 16 channels, as in the public code) or "paper"
    (the ordinary rule with m = 0 before it). best_by: "global" takes the trial with the highest mean m over groups,
    "group" each group's width where its own m was highest. best_from: the first trial that can be best, from 1.
    remainder: what rounding takes off a width is "kept" for the next step, or "dropped", as in the published searches,
    where a width that should change by less than half a quantum never does.
    """

    gamma: float = field(default=0.8, metadata={
        "help": "Weight of the past, 0 to 1: it decides how large the model gets.", "range": (0, 1)})
    start_width: int = field(default=16, metadata={
        "help": "Channels of each group in trial 1; 0: the model's.", "range": (0, math.inf)})
    first_step: Literal["+16", "paper"] = field(default="+16", metadata={
        "help": "After trial 1: every width +16, or the rule."})
    best_by: Literal["global", "group"] = field(default="global", metadata={
        "help": "Best trial as a whole, or group by group."})
    best_from: int = field(default=6, metadata={"help": "First trial that can be the best.", "range": (1, math.inf)})
    remainder: Literal["kept", "dropped"] = field(default="kept", metadata={
        "help": "What rounding takes off a width: kept for the next step, or dropped."})  # fmt: skip

    def start(self, space: Space) -> tuple[Widths, State]:
        """Every group at start_width; no momentum."""
        zero = {group.id: 0.0 for group in space.resizable}
        state = {"measured": 0, "momentum": zero, "real": {}, "best": None, "best_group": {}}
        return start_widths(space, self.limits, self.start_width), state

    def propose(self, space: Space, state: State, seen: Measurement) -> Proposal:
        """Algorithm 2's step for every group at once."""
        past: dict[str, float] = state["momentum"]
        momentum = {gid: self.gamma * past[gid] + seen.group_metric.get(gid, 0.0) for gid in past}
        first = state["measured"] == 0 and self.first_step == "+16"
        real = {}
        for group in space.resizable:
            change = momentum[group.id] - past[group.id]
            now = self.limits.real(seen.widths[group.id], state["real"], group)
            factor = 1.0 + self.adjust(change, seen.trial, group.id)
            real[group.id] = self.limits.clamp(now + 16.0 if first else now * min(max(factor, 0.5), 2.0), group)
        widths = {group.id: self.limits.fit(real[group.id], group) for group in space.resizable}
        kept = real if self.remainder == "kept" else {}
        after = {"measured": state["measured"] + 1, "momentum": momentum, "real": kept}
        figure = {"all layers": cumulative(momentum, seen.members)} if seen.members else {}
        return Proposal(widths, after | self._ranking(state, seen, momentum), momentum, figure)

    def adjust(self, change: float, trial: int, group: str) -> float:
        """What is made of dm before it scales a width: nothing, here."""
        return change

    def best(self, state: State) -> Widths:
        """The best widths, globally or group by group."""
        widths: Widths = dict(state["best"]["widths"])
        if self.best_by == "group":
            widths |= {gid: entry["width"] for gid, entry in state["best_group"].items()}
        return widths

    def _ranking(self, state: State, seen: Measurement, momentum: dict[str, float]) -> State:
        """The best so far. Before trial `best_from` the latest counts, so that a short search has an answer too."""
        count = state["measured"] + 1
        score = sum(momentum.values()) / max(len(momentum), 1)
        restart = count <= self.best_from or state["best"] is None
        best = state["best"]
        if restart or score > best["score"]:
            best = {"trial": seen.trial, "score": score, "widths": dict(seen.widths)}
        each = {} if restart else dict(state["best_group"])
        for gid, value in momentum.items():
            if gid not in each or value > each[gid]["score"]:
                each[gid] = {"score": value, "width": seen.widths[gid]}
        return {"best": best, "best_group": each}
