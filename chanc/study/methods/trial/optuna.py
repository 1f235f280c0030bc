"""Optuna's samplers over the logarithms of widths, projected to the budget.

One float a unit of groups: the logarithm (base 2) of its factor over the model's width, within the spread. A common
factor of all means nothing, for every network is scaled to the target; what Optuna is told is the loss of what it
asked for. Its state isn't kept: for each new network a study is made anew, all that was asked and told is played to it
again in the same order, and with the same seed it comes to the same point.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from chanc import plugins
from chanc.study.methods.halving import Entry, Halving, Past
from chanc.study.methods.registry import register
from chanc.study.space import Shape, Space

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

RANDOM = 8
"""Networks that TPE draws at random before it has a model."""


@register("optuna")
@dataclass(frozen=True)
class Optuna(Halving):
    """Ask Optuna for widths: TPE or CMA-ES. Raises MissingDependencyError where it is not installed."""

    sampler: Literal["tpe", "cmaes"] = field(default="tpe", metadata={"help": "Which of Optuna's samplers."})
    spread: float = field(default=4.0, metadata={
        "help": "Factors are drawn from 1/spread to spread.", "range": (1, 1e3)})

    def __post_init__(self) -> None:
        """Raise ValueError for options out of range, MissingDependencyError without Optuna."""
        super().__post_init__()
        plugins.expect("optuna", "the optuna search", "optuna")
        if self.sampler == "cmaes":
            plugins.expect("cmaes", "Optuna's CMA-ES", "optuna")

    def suggest(self, space: Space, past: Past, trial: int, draw: int) -> Shape:
        """What a study that has lived through the past asks for next."""
        with _quiet():
            params = self._drawn(self._replayed(space, past), space, draw).params
        return {group.id: group.size * 2.0 ** params[name]
                for name, groups in space.units.items() for group in groups}  # fmt: skip

    def _floats(self, space: Space) -> dict[str, BaseDistribution]:
        from optuna.distributions import FloatDistribution

        reach = math.log2(self.spread)
        return {name: FloatDistribution(-reach, reach) for name in space.units}

    def _replayed(self, space: Space, past: Past) -> Study:
        """A study that was asked and told all of the past; it only sees of the first networks, which it didn't ask for.

        CMA-ES doesn't see those, but starts in the middle, with the model's own proportions.
        """
        import optuna

        study = optuna.create_study(sampler=self._sampler())
        given = {entry.trial for entry in past.new[: len(self.first(space))]}
        asked: dict[int, Trial] = {}
        results, told = past.results, 0
        for entry in past.new:
            for result in results[told : entry.known]:
                self._tell(study, space, result, asked.get(result.trial))
            told = entry.known
            if entry.trial not in given:
                asked[entry.trial] = self._drawn(study, space, entry.draw)
        for result in results[told:]:
            self._tell(study, space, result, asked.get(result.trial))
        return study

    def _drawn(self, study: Study, space: Space, draw: int) -> Trial:
        """What is asked for once `draw` proposals were of no use, for they had been there."""
        from optuna.trial import TrialState

        for _ in range(draw):
            study.tell(study.ask(self._floats(space)), state=TrialState.FAIL)
        return study.ask(self._floats(space))

    def _sampler(self) -> BaseSampler:
        from optuna.samplers import CmaEsSampler, TPESampler

        if self.sampler == "cmaes":
            return CmaEsSampler(seed=self.seed, warn_independent_sampling=False)
        return TPESampler(seed=self.seed, multivariate=True, n_startup_trials=RANDOM)

    def _tell(self, study: Study, space: Space, result: Entry, asked: Trial | None) -> None:
        """Tell the study of a network's first rung: of its own trial, or of one that it hasn't asked for."""
        from optuna.trial import TrialState, create_trial

        if asked is not None:
            study.tell(asked, result.loss if result.worked else None, None if result.worked else TrialState.FAIL)
        elif result.worked:
            params = self._params(space, result)
            study.add_trial(create_trial(params=params, distributions=self._floats(space), value=result.loss))

    def _params(self, space: Space, entry: Entry) -> dict[str, float]:
        """The floats of widths, centred, inside the spread."""
        logs = {name: math.log2(entry.widths[groups[0].id] / groups[0].size) for name, groups in space.units.items()}
        middle, reach = math.fsum(logs.values()) / len(logs), math.log2(self.spread)
        return {name: min(max(value - middle, -reach), reach) for name, value in logs.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's lines and warnings from the terminal."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
