"""Rank-slope channel search (CONet, Hosseini et al. 2021, Algorithm 2), fresh weights in each trial.

    S = (R_plateau - R_0) / (epoch of the plateau),  R the group's mean rank at the end of each epoch
    shrink if S < delta or kappa > mu, else expand;   n' = quantum * round(n (1 + phi action) / quantum)
    where the action flips: freeze the group if phi < gamma; phi /= 2
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from chanc.metrics.slope import rank_slope
from chanc.runs import State
from chanc.study.methods.protocol import GroupEpoch, Measurement
from chanc.study.methods.registry import register
from chanc.study.methods.sampler import Proposal, Sampler, start_widths
from chanc.study.space import SearchGroup, Space, Widths


class Rule(TypedDict):
    """What is remembered of a group: its relative step, its last action (+1, -1, 0: none yet), whether it stops."""

    phi: float
    last: int
    frozen: bool


@register("conet")
@dataclass(frozen=True)
class Conet(Sampler):
    """Grow groups whose rank still climbs, shrink the others.

    delta: rank slope per epoch that separates the two. mu: largest condition kappa of a group that may grow; kappa_at:
    whether kappa equal to mu is still good (">") or not (">="). phi: first relative step; gamma: a group whose action
    flips with phi below it is frozen. phi_by: "group", or "global" with one phi that is halved once a trial when any
    group flips and ends the whole search. at_delta: S = delta does nothing ("no-op") or expands. at_minimum: a
    group that should shrink below min_width holds, or is forced to expand. The plateau is that of
    `chanc.metrics.slope`. remainder: as in `chanc.study.methods.trial.greedy`.
    """

    trials: int = 25
    fresh: bool = True
    start_width: int = field(default=32, metadata={
        "help": "Channels of each group in trial 1; 0: the model's.", "range": (0, math.inf)})
    delta: float = field(default=0.0075, metadata={"help": "Rank slope below which a group shrinks."})
    mu: float = field(default=10.0, metadata={"help": "Largest condition of a group that may grow."})
    phi: float = field(default=0.2, metadata={"help": "First relative step of a width.", "range": (0, 1)})
    gamma: float = field(default=0.01, metadata={"help": "Smallest phi that may still flip.", "range": (0, 1)})
    phi_by: Literal["group", "global"] = field(default="group", metadata={"help": "One phi a group, or one for all."})
    kappa_at: Literal[">", ">="] = field(default=">", metadata={
        "help": "Whether a condition of exactly mu shrinks."})
    at_delta: Literal["no-op", "expand"] = field(default="no-op", metadata={
        "help": "What a slope of exactly delta does."})
    at_minimum: Literal["hold", "expand"] = field(default="hold", metadata={
        "help": "What shrinking at the minimum does."})
    remainder: Literal["kept", "dropped"] = field(default="kept", metadata={
        "help": "What rounding takes off a width: kept for the next step, or dropped."})

    def start(self, space: Space) -> tuple[Widths, State]:
        """Every group at start_width, moving freely."""
        rule = {group.id: Rule(phi=self.phi, last=0, frozen=False) for group in space.resizable}
        widths = start_widths(space, self.limits, self.start_width)
        return widths, {"rule": rule, "real": {}, "next": None}

    def propose(self, space: Space, state: State, seen: Measurement) -> Proposal:
        """Algorithm 2's step for every group; None once all groups are frozen."""
        rules: dict[str, Rule] = {}
        real: dict[str, float] = {}
        for group in space.resizable:
            epochs = [epoch[group.id] for epoch in seen.epochs if group.id in epoch]
            action = self.action(epochs) if epochs else 0
            now = self.limits.real(seen.widths[group.id], state["real"], group)
            rules[group.id], real[group.id] = self.step(state["rule"][group.id], now, action, group)
        if self.phi_by == "global":
            rules, real = self._one_phi(state["rule"], rules, real, seen)
        widths = {group.id: self.limits.fit(real[group.id], group) for group in space.resizable}
        done = bool(rules) and all(rule["frozen"] for rule in rules.values())
        kept = real if self.remainder == "kept" else {}
        return Proposal(None if done else dict(widths), {"rule": rules, "real": kept, "next": widths})

    def best(self, state: State) -> Widths:
        """The widths after the last step: the method's answer is where it stops."""
        if state["next"] is None:
            raise KeyError("next")
        return dict(state["next"])

    def action(self, epochs: Sequence[GroupEpoch]) -> int:
        """+1 expand, -1 shrink, 0 neither, from a group's epochs of one trial."""
        slope, kappa = rank_slope([epoch.rank for epoch in epochs]).slope, epochs[-1].kappa
        if slope < self.delta or kappa > self.mu or (self.kappa_at == ">=" and kappa == self.mu):
            return -1
        return 0 if slope == self.delta and self.at_delta == "no-op" else 1

    def step(self, rule: Rule, width: float, action: int, group: SearchGroup) -> tuple[Rule, float]:
        """One group's new rule and width, not rounded. An action of 0 changes neither."""
        if rule["frozen"]:
            return rule, width
        if action < 0 and self.at_minimum == "expand" and width <= self.limits.bounds(group)[0]:
            action = 1
        if action == 0:
            return rule, width
        phi, frozen = rule["phi"], False
        if rule["last"] and action != rule["last"]:
            frozen, phi = phi < self.gamma, phi / 2
        width = width if frozen else self.limits.clamp(width * (1 + phi * action), group)
        return Rule(phi=phi, last=action, frozen=frozen), width

    def _one_phi(
        self, before: dict[str, Rule], after: dict[str, Rule], widths: dict[str, float], seen: Measurement
    ) -> tuple[dict[str, Rule], dict[str, float]]:
        """Make the smallest phi of the trial everybody's, and stop everybody where one group froze."""
        stop = any(rule["frozen"] for rule in after.values())
        phi = min((rule["phi"] for rule in after.values()), default=self.phi)
        rules = {gid: Rule(phi=phi, last=rule["last"], frozen=stop) for gid, rule in after.items()}
        return rules, {gid: float(width) for gid, width in seen.widths.items()} if stop and before else widths
