"""The sampler protocol: a method that sees each trial's measurements and proposes the next widths.

A sampler is a frozen dataclass of options. What it remembers lives in a state that is a plain JSON object and is
handed back to it, so that a search killed at any moment goes on from the last line of its log.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from chanc import fields
from chanc.errors import RunError
from chanc.registry import Registry
from chanc.study.space import Limits, Space, Widths

State = dict[str, Any]


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
    holds the groups' means epoch by epoch; `top1` (0 to 1) was measured on the held-out part of the training set.
    """

    trial: int
    widths: Mapping[str, int]
    group_metric: Mapping[str, float]
    epochs: tuple[Mapping[str, GroupEpoch], ...] = ()
    top1: float = math.nan
    params: int = 0
    macs: int = 0


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
class Sampler(ABC):
    """A search method; its options are its fields, on the command line too (`chanc.fields`).

    min_width, max_width: bounds in channels. round_to: widths are multiples of it and of their group's step.
    trials: how many trials the search is planned for.
    """

    name: ClassVar[str]
    weights: ClassVar[Literal["carry", "fresh"]] = "carry"

    seed: int = 0
    trials: int = field(default=35, metadata={"help": "Number of trials.", "range": (1, math.inf)})
    min_width: int = field(default=16, metadata={"help": "Smallest width, in channels.", "range": (1, math.inf)})
    max_width: int = field(default=256, metadata={"help": "Largest width, in channels.", "range": (1, math.inf)})
    round_to: int = field(default=2, metadata={"help": "Widths are multiples of this (and of a group's step).",
                                               "range": (1, math.inf)})  # fmt: skip

    def __post_init__(self) -> None:
        """Raise ValueError for options out of range."""
        if self.min_width > self.max_width:
            raise ValueError(f"min_width {self.min_width} lies above max_width {self.max_width}")
        if wrong := fields.fault(self):
            raise ValueError(wrong)

    @property
    def limits(self) -> Limits:
        """The bounds of a legal width."""
        return Limits(self.min_width, self.max_width, self.round_to)

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

    def options(self) -> dict[str, Any]:
        """The options as a JSON object; `make(name, **options)` gives an equal sampler."""
        return dataclasses.asdict(self)


SAMPLERS: Registry[type[Sampler]] = Registry(
    "search method", "chanc.methods", "chanc.study.methods", error=RunError
)
S = TypeVar("S", bound=type[Sampler])


def register(name: str) -> Callable[[S], S]:
    """Class decorator: make a sampler known under `name`. Raises RunError where the name is another one's."""

    def add(cls: S) -> S:
        SAMPLERS.add(name, cls)
        cls.name = name
        return cls

    return add


def names() -> tuple[str, ...]:
    """The names of all registered samplers, sorted."""
    return SAMPLERS.names()


def make(name: str, **options: Any) -> Sampler:
    """The sampler of that name with the given options.

    Raises RunError for an unknown name or option, ValueError for a value out of range.
    """
    known = {entry.name for entry in dataclasses.fields(SAMPLERS[name])}
    unknown = sorted(set(options) - known)
    if unknown:
        raise RunError(f"the {name} search has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return SAMPLERS[name](**options)


def start_widths(space: Space, limits: Limits, start: int) -> Widths:
    """Every resizable group at `start` channels, or (0) at the width that the model has."""
    return {group.id: limits.fit(start or group.size, group) for group in space.resizable}
