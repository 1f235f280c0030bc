"""What a method is: a frozen dataclass of options that decides widths, kept channels or edges.

A *trial method* asks for trainings and is told how they went. All that it remembers is a state, a JSON object that it
is handed and never changes; the driver keeps it in the run's log, so that a search that was killed goes on from there.

A *whole method* (a supernet that changes widths inside, a pruner of edges) trains by itself: it yields events, and
goes on from those that the run holds already.

Both end in a Decision: the `best` of the last StateEvent.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from chanc.rewriter.importance import Gathered
from chanc.runs import INPUT, Decision, Event, Record, State, Timing, Trial
from chanc.runs.events import Metrics
from chanc.study.engine import Engine, Watcher
from chanc.study.space import Limits, Space


@dataclass(frozen=True)
class GroupEpoch:
    """Means over a group's measured members at the end of one epoch."""

    rank: float
    kappa: float
    qc: float


@dataclass(frozen=True)
class Measurement:
    """What one trial showed.

    `group_metric` is the mean over the group's members of each layer's maximum QC over the trial's epochs; `epochs`
    holds the groups' means epoch by epoch; `score` (top-1, 0 to 1) and `loss` were measured on the held-out part of the
    training set; params and macs are what the network costs; `members` counts the axes that a group's mean is of.
    `evidence` is what the training images show of its units: None for a method that doesn't ask (`wants_evidence`).
    """

    trial: int
    widths: Mapping[str, int]
    group_metric: Mapping[str, float]
    epochs: tuple[Mapping[str, GroupEpoch], ...] = ()
    score: float = math.nan
    loss: float = math.nan
    params: int = 0
    macs: int = 0
    members: Mapping[str, int] = field(default_factory=dict)
    evidence: Gathered | None = None


@dataclass(frozen=True)
class Told:
    """The state after a trial, and the figures by group that are worth a plot, by name."""

    state: State
    figures: Metrics = field(default_factory=dict)


class Method(Protocol):
    """What both kinds are: a frozen dataclass, whose fields are its options; `register` gives it its name."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


class TrialMethod(Method, Protocol):
    """A method that asks for trials; what it does depends on its options, the space and the state alone.

    One whose class has `wants_evidence = True` is told the evidence of each trial, and units are kept by it.
    """

    @property
    def limits(self) -> Limits:
        """The bounds of a legal width, within which budgets are met."""

    def begin(self, space: Space) -> State:
        """The state before the first trial."""

    def ask(self, space: Space, state: State, n: int) -> tuple[list[Trial], State]:
        """Up to n trials to train, side by side if need be, and the state once they are asked for.

        No trial while others are out means: wait for them; no trial while none is out ends the search.
        """

    def tell(self, space: Space, state: State, trial: Trial, seen: Measurement | None) -> Told:
        """The state after a trial that was asked for; `seen` is None where nothing came of it."""

    def decision(self, state: State) -> Decision | None:
        """What the search would end with now; None before there is an answer."""


@dataclass(frozen=True)
class Context:
    """What a whole method works with.

    record: the run so far, whose events it goes on from. folder: makes a folder of the run, by its name there; a file
    that an event names is written before the event is yielded. fresh: weights are drawn anew at the start. say: one
    line for a person. timed: what took how long, which no event tells.
    """

    record: Record
    space: Space
    engine: Engine
    seed: int
    watch: Watcher
    folder: Callable[[str], Path]
    fresh: bool = True
    say: Callable[[str], None] = lambda line: None
    timed: Callable[[Timing], None] = lambda timing: None

    @property
    def input(self) -> Path:
        """The model to start from."""
        return self.record.path / INPUT


@runtime_checkable
class WholeMethod(Method, Protocol):
    """A method that trains by itself."""

    def run(self, context: Context) -> Iterator[Event]:
        """Yield the events that are still to come: none where the record's last one is the end.

        An event is on the disk once the next one is asked for. What it yields depends on its options, the seed and the
        record alone, so that a run that was killed comes out like one that was not.
        """
