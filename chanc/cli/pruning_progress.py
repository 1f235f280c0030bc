"""What a running pruning shows, and the table that it ends with."""

from __future__ import annotations

import dataclasses
from typing import Any

from chanc.cli.costs import costs, show
from chanc.cli.training_progress import TrainingProgress, shown
from chanc.pruning import STAGES, Pruned


class PruningProgress(TrainingProgress):
    """Follows the trainings of all steps as one: a bar on a terminal, lines elsewhere. `quiet` shows nothing at all."""

    def __init__(self, steps: int, epochs: int, score_name: str, *, quiet: bool = False) -> None:
        super().__init__(max(steps * epochs, 1), score_name, quiet=quiet)
        self.steps, self.each = steps, epochs
        self._number = 0

    def begin(self, number: int) -> None:
        """A step begins; they count from 0."""
        self._number = number
        if self.steps > 1:
            self.say(f"step {number + 1}/{self.steps}")

    def step(self, info: Any) -> None:
        """An optimiser step is done."""
        super().step(dataclasses.replace(info, epoch=self._number * self.each + info.epoch))

    def epoch(self, record: Any, module: Any) -> None:
        """An epoch has been trained and measured."""
        super().epoch(dataclasses.replace(record, epoch=self._number * self.each + record.epoch), module)


def table(model: str, output: str, done: Pruned) -> None:
    """Print what the model cost and was worth before, and what it costs and is worth now."""
    from chanc.ir import load

    last = done.steps[-1]
    found = costs((load(model), model), (load(output), output), done.sizes, timed=True)
    if done.before is not None and done.after is not None:
        found.add_row(done.score_name, _score(done, done.before), _score(done, done.after))
        for stage in STAGES[:-1]:
            if stage in last.scores and len(last.scores) > 1:
                found.add_row(f"  {stage} only", "", _score(done, last.scores[stage]))
    show(found)


def _score(done: Pruned, value: float) -> str:
    return shown(done.score_name, value).split()[-1]
