"""Successive halving, which methods that look at accuracy share: many networks shortly, the best of them for longer.

    epochs of rung r = epochs eta^r,   the best 1/eta of those that have ended rung r go on to rung r + 1

It is done as results come in (ASHA, Li et al. 2020): whenever a trial may start, a network that is among the best of
its rung goes on, the highest rung first; where there is none, the method proposes a new one, and where that has been
there already, more go on. A network that goes on continues with its own weights, so that its epochs count together; a
new one starts with fresh weights, or with the model's where the search says so. All networks cost the same
(`chanc.study.targets`), so what is compared is the loss on the held-out images at equal cost and equal epochs.

The first two networks are the model's own proportions and widths that are all equal: what a search has to beat.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from chanc.runs import Decision, State, Trial
from chanc.study import shapes
from chanc.study.budgets import Target
from chanc.study.methods.protocol import Measurement, Told
from chanc.study.methods.sampler import WidthOptions
from chanc.study.space import Shape, Space, Widths, generator

DRAWS = 8
"""How often a proposal is drawn until it is one that wasn't there before."""


@dataclass(frozen=True)
class Entry:
    """A network's stay in one rung: a trial.

    loss: on the held-out images, None before it has ended, inf where it failed. known: how many networks had ended
    their first rung when this one was proposed. draw: how many proposals before it had been there already. merit: what
    networks of a rung are ranked by, lower is better: the loss, or what the method makes of all losses (`merits`).
    """

    trial: int
    rung: int
    widths: Widths
    parent: int | None = None
    known: int = 0
    draw: int = 0
    loss: float | None = None
    merit: float | None = None

    @property
    def worked(self) -> bool:
        """Whether there is a loss."""
        return self.loss is not None and self.loss < math.inf


@dataclass(frozen=True)
class Past:
    """All that was asked for, and the trials that have ended in the order in which they did."""

    entries: tuple[Entry, ...]
    ended: tuple[int, ...]

    @property
    def new(self) -> tuple[Entry, ...]:
        """The networks, each in its first rung, in the order in which they were proposed."""
        return tuple(entry for entry in self.entries if entry.rung == 0)

    @property
    def results(self) -> tuple[Entry, ...]:
        """The networks that ended their first rung, in the order in which they did."""
        by_trial = {entry.trial: entry for entry in self.new}
        return tuple(by_trial[trial] for trial in self.ended if trial in by_trial)

    def rung(self, number: int) -> list[Entry]:
        """The entries of a rung that have a loss, best first."""
        found = [entry for entry in self.entries if entry.rung == number and entry.worked]
        return sorted(found, key=lambda entry: (entry.loss if entry.merit is None else entry.merit, entry.trial))

    @property
    def best(self) -> Entry | None:
        """The best of the highest rung that any network has ended."""
        tops = [entry.rung for entry in self.entries if entry.worked]
        return self.rung(max(tops))[0] if tops else None


@dataclass(frozen=True)
class Halving(WidthOptions, ABC):
    """A trial method whose networks all cost the same and are chosen by their loss on held-out images."""

    own_target: ClassVar[Target] = Target(params="100%")

    trials: int = 36
    min_width: int = 2
    max_width: int = 4096
    epochs: int = field(default=2, metadata={"help": "Epochs of a network's first trial.", "range": (1, math.inf)})
    eta: int = field(default=3, metadata={
        "help": "One network in so many goes on, to so many times the epochs.", "range": (2, 100)})
    rungs: int = field(default=3, metadata={
        "help": "Trials that a network has at most; 1: each has one.", "range": (1, 10)})

    @abstractmethod
    def suggest(self, space: Space, past: Past, trial: int, draw: int) -> Shape:
        """The proportions of a new network.

        draw: 0, and one more each time that what was suggested has been there before. What comes back depends on these
        arguments and on the options alone.
        """

    def merits(self, space: Space, past: Past) -> Mapping[int, float]:
        """What the entries that have a loss are ranked by within their rungs, by trial; none: by their losses."""
        return {}

    def begin(self, space: Space) -> State:
        """The state before the first trial: rows of entries, and the order in which they have ended."""
        return {"order": [group.id for group in space.resizable], "entries": [], "ended": []}

    def ask(self, space: Space, state: State, n: int) -> tuple[list[Trial], State]:
        """Up to n trials: networks that go on, then new ones."""
        past, asked = _past(state), []
        for trial in range(len(past.entries), min(len(past.entries) + n, self.trials)):
            entry = self._further(past, trial) or self._new(space, past, trial) or self._further(past, trial, eta=1)
            if entry is None:
                break
            past = Past((*past.entries, entry), past.ended)
            asked.append(self._asked(entry))
        return asked, _state(state["order"], past)

    def tell(self, space: Space, state: State, trial: Trial, seen: Measurement | None) -> Told:
        """The state with the trial's loss in it, and with the widths that it had in the end."""
        past, widths = _past(state), dict(trial.decision.widths)
        loss = seen.loss if seen is not None and math.isfinite(seen.loss) else math.inf
        told = [replace(entry, loss=loss, widths=widths) if entry.trial == trial.id else entry
                for entry in past.entries]  # fmt: skip
        past = Past(tuple(told), (*past.ended, trial.id))
        merits = self.merits(space, past)
        ranked = tuple(replace(entry, merit=merits.get(entry.trial)) for entry in past.entries)
        return Told(_state(state["order"], Past(ranked, past.ended)))

    def decision(self, state: State) -> Decision | None:
        """The best network of the highest rung; None before one has a loss."""
        best = _past(state).best
        return Decision(best.widths) if best is not None else None

    def total(self, rung: int) -> int:
        """The epochs that a network has behind it at the end of a rung."""
        return self.epochs * int(self.eta**rung)

    def _asked(self, entry: Entry) -> Trial:
        """What is trained for an entry: its own epochs, from the weights of its parent where it has one.

        With `fresh` it is all its epochs, from weights of its own.
        """
        more = self.total(entry.rung) - (self.total(entry.rung - 1) if entry.rung and not self.fresh else 0)
        kept = None if entry.parent is None else "init" if self.fresh else "select"
        return Trial(entry.trial, Decision(entry.widths), epochs=more, parent=entry.parent, transfer=kept)

    def _further(self, past: Past, trial: int, eta: int | None = None) -> Entry | None:
        """A network that goes on to its next rung: one of the best in `eta`, or whoever is left."""
        gone = {entry.parent for entry in past.entries}
        for rung in reversed(range(self.rungs - 1)):
            ranked = past.rung(rung)
            for entry in ranked[: len(ranked) // (eta or self.eta)]:
                if entry.trial not in gone:
                    return Entry(trial, rung + 1, entry.widths, parent=entry.trial)
        return None

    def _new(self, space: Space, past: Past, trial: int) -> Entry | None:
        """One of the first networks, or one that hasn't been there yet; None where a few draws find none."""
        known, first = [entry.widths for entry in past.new], self.first(space)
        if len(known) < len(first):
            return Entry(trial, 0, first[len(known)], known=len(past.results))
        for draw in range(DRAWS):
            widths = self.at_target(space, self.suggest(space, past, trial, draw))
            if widths not in known:
                return Entry(trial, 0, widths, known=len(past.results), draw=draw)
        return None

    def random(self, trial: int, draw: int) -> np.random.Generator:
        """The random numbers of one suggestion."""
        return generator(self.seed, trial, f"draw {draw}")

    def first(self, space: Space) -> list[Widths]:
        """The networks to beat, each once: the model's proportions, and widths that are all equal."""
        uniform, flat = (self.at_target(space, shape(space)) for shape in (shapes.uniform, shapes.flat))
        return [uniform] if uniform == flat else [uniform, flat]


def _state(order: Sequence[str], past: Past) -> State:
    """The past as JSON, short, for the log holds a state for each trial: a row an entry, widths in `order`."""
    rows = [[entry.trial, entry.rung, entry.parent, entry.known, entry.draw, entry.loss if entry.worked else None,
             entry.merit, [entry.widths[gid] for gid in order]] for entry in past.entries]  # fmt: skip
    return {"order": list(order), "entries": rows, "ended": list(past.ended)}


def _past(state: State) -> Past:
    order, ended = state["order"], tuple(state["ended"])
    return Past(tuple(_entry(row, order, ended) for row in state["entries"]), ended)


def _entry(row: Sequence[Any], order: Sequence[str], ended: Sequence[int]) -> Entry:
    trial, rung, parent, known, draw, loss, merit, widths = row
    if loss is None and trial in ended:
        loss = math.inf
    return Entry(trial, rung, dict(zip(order, widths, strict=True)), parent, known, draw, loss, merit)
