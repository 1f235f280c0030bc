"""Samplers: trial methods that see one trial's measurements after the other and propose the next widths.

A sampler is a frozen dataclass of options. What it remembers lives in a state that is a plain JSON object and is
handed back to it, so that a search killed at any moment goes on from the last line of its log. `Sampler` makes a
`chanc.study.methods.protocol.TrialMethod` of three functions: where to start, what comes next, what was the best.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from chanc import fields
from chanc.runs import Decision, State, Trial
from chanc.study.budgets import Target
from chanc.study.methods.protocol import Measurement, Told
from chanc.study.space import Limits, Shape, Space, Widths
from chanc.study.targets import project


@dataclass(frozen=True)
class Proposal:
    """The next widths (None: the method has converged), the new state, and the figures worth a plot.

    momentum: m_t by group; cumulative: the cumulative metric by group (`chanc.metrics.cumulative`); empty where a
    method has none.
    """

    widths: Widths | None
    state: State
    momentum: dict[str, float] = field(default_factory=dict)
    cumulative: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Bounded:
    """What all methods of widths can be asked for; the fields are options on the command line too (`chanc.fields`).

    min_width, max_width: bounds in channels. round_to: widths are multiples of it and of their group's step.
    target_params, target_macs, target_latency: what all trials shall cost, numbers or shares of what the model has
    ("25%").

    own_target: what a method takes where no target is given. bends: whether the proportions of widths may give way
    where there are two (`chanc.study.targets`).
    """

    name: ClassVar[str]
    own_target: ClassVar[Target] = Target()
    bends: ClassVar[bool] = True

    min_width: int = field(default=16, metadata={"help": "Smallest width, in channels.", "range": (1, math.inf)})
    max_width: int = field(default=256, metadata={"help": "Largest width, in channels.", "range": (1, math.inf)})
    round_to: int = field(default=2, metadata={"help": "Widths are multiples of this (and of a group's step).",
                                               "range": (1, math.inf), "default": "2; 8 on a GPU"})  # fmt: skip
    target_params: int | str | None = field(default=None, metadata={
        "help": "Params that all trials shall have (500k, 1.5M, 25%).", "amount": "count"})
    target_macs: int | str | None = field(default=None, metadata={
        "help": "MACs that all trials shall have; with --target-params, both are met.", "amount": "count"})
    target_latency: float | str | None = field(default=None, metadata={
        "help": "Latency that all trials shall have, measured in onnxruntime, batch 1.", "amount": "ms"})

    def __post_init__(self) -> None:
        """Raise ValueError for options out of range."""
        if self.min_width > self.max_width:
            raise ValueError(f"min_width {self.min_width} lies above max_width {self.max_width}")
        if wrong := fields.fault(self) or self.target.fault():
            raise ValueError(wrong)

    @property
    def limits(self) -> Limits:
        """The bounds of a legal width."""
        return Limits(self.min_width, self.max_width, self.round_to)

    @property
    def target(self) -> Target:
        """What all trials shall cost."""
        return Target(self.target_params, self.target_macs, self.target_latency) or self.own_target


@dataclass(frozen=True)
class WidthOptions(Bounded):
    """What all trial methods here can be asked for besides.

    trials: how many trials the search is planned for. fresh: each trial starts from fresh weights; else from those of
    the last one that worked, by the search's transfer.
    """

    wants_evidence: ClassVar[bool] = False

    seed: int = 0
    trials: int = field(default=35, metadata={"help": "Number of trials.", "range": (1, math.inf)})
    fresh: bool = field(default=False, metadata={"help": "Train each trial from fresh weights, not the last one's."})

    def at_target(self, space: Space, shape: Shape) -> Widths:
        """Widths of a shape at the targets that are counted."""
        return project(space, self.limits, shape, self.target.counts(space), bend=self.bends)


@dataclass(frozen=True)
class Sampler(WidthOptions, ABC):
    """A trial method that sees one trial after the other."""

    @abstractmethod
    def start(self, space: Space) -> tuple[Widths, State]:
        """The widths of the first trial, and the state before it."""

    @abstractmethod
    def propose(self, space: Space, state: State, seen: Measurement) -> Proposal:
        """The widths of the trial after `seen`. Never changes `state`."""

    @abstractmethod
    def best(self, state: State) -> Widths:
        """The widths that the search found; raises KeyError before the first trial was measured."""

    def after_failure(self, space: Space, widths: Mapping[str, int], last_good: Mapping[str, int] | None) -> Widths:
        """What to try after a trial that failed: half the way back to widths that worked, else the same again."""
        if last_good is None:
            return dict(widths)
        return {group.id: self.limits.fit((widths[group.id] + last_good[group.id]) / 2, group)
                for group in space.resizable}  # fmt: skip

    def begin(self, space: Space) -> State:
        """The state before the first trial: `next` holds the widths to try, `own` what the method itself remembers."""
        widths, own = self.start(space)
        return {"trial": 0, "next": widths, "good": None, "own": own}

    def ask(self, space: Space, state: State, n: int) -> tuple[list[Trial], State]:
        """The next trial: never more than one, for each one follows from what the one before has shown."""
        if state["next"] is None or state["trial"] >= self.trials:
            return [], state
        good, transfer = state["good"], "init" if self.fresh else None
        trial = Trial(state["trial"], Decision(state["next"]), parent=good and good["trial"], transfer=transfer)
        return [trial], {**state, "next": None}

    def tell(self, space: Space, state: State, trial: Trial, seen: Measurement | None) -> Told:
        """The state after a trial; one that failed changes nothing that the method itself remembers."""
        widths, good = trial.decision.widths, state["good"]
        after = {**state, "trial": trial.id + 1}
        if seen is None:
            return Told({**after, "next": self.after_failure(space, widths, good and good["widths"])})
        proposal = self.propose(space, state["own"], seen)
        good = {"trial": trial.id, "widths": dict(widths)}
        figures = {"momentum": proposal.momentum, "cumulative": proposal.cumulative}
        return Told({**after, "next": proposal.widths, "good": good, "own": proposal.state},
                    {name: values for name, values in figures.items() if values})  # fmt: skip

    def decision(self, state: State) -> Decision | None:
        """The widths that the search would end with now; None before the first trial was measured."""
        return Decision(self.best(state["own"])) if state["good"] is not None else None


def start_widths(space: Space, limits: Limits, start: int) -> Widths:
    """Every resizable group at `start` channels, or (0) at the width that the model has."""
    return {group.id: limits.fit(start or group.size, group) for group in space.resizable}
