"""What trial methods without a memory share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from chanc.runs import State
from chanc.study.methods.protocol import Measurement
from chanc.study.methods.sampler import Proposal, Sampler
from chanc.study.space import Space, Widths


@dataclass(frozen=True)
class Baseline(Sampler):
    """Widths that follow from the trial's number alone; the best trial is the one of the highest held-out score."""

    trials: int = 8
    min_width: int = 2
    max_width: int = 4096
    fresh: bool = True

    @abstractmethod
    def draw(self, space: Space, trial: int) -> Widths:
        """The widths of one trial."""

    def start(self, space: Space) -> tuple[Widths, State]:
        """The widths of trial 0."""
        return self.draw(space, 0), {"best": None}

    def propose(self, space: Space, state: State, seen: Measurement) -> Proposal:
        """The next trial's widths; they depend on nothing that was measured."""
        best = state["best"]
        if best is None or seen.score > best["score"]:
            best = {"trial": seen.trial, "score": seen.score, "widths": dict(seen.widths)}
        return Proposal(self.draw(space, seen.trial + 1), {"best": best})

    def best(self, state: State) -> Widths:
        """The widths with the highest held-out score."""
        return dict(state["best"]["widths"])
