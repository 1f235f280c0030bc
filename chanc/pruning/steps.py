"""One step of a pruning: a model goes in, a cheaper one comes out, and how right it was at each stage."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from chanc.analysis import analyze
from chanc.data import Data
from chanc.errors import ModelError, TrialError
from chanc.ir import copy_model
from chanc.ir.turns import Turns
from chanc.pruning.cut import cut
from chanc.pruning.norms import with_norms
from chanc.pruning.outcome import Step, Watch
from chanc.rewriter import Rewrite
from chanc.rewriter.allocate import LEAST_SHARE
from chanc.rewriter.importance import Gathered
from chanc.training.evidence import gather
from chanc.training.feed import some_feed
from chanc.training.inputs import inputs_of
from chanc.training.module import trainable
from chanc.training.options import TrainOptions
from chanc.training.task import Task
from chanc.training.train import rehearse, score, train
from chanc.transforms import reconstruct

CALIBRATION, AT_ONCE = 256, 32
"""Training samples that layers are refitted on, and how many at once."""

_UNDONE = {"refitted": "refit", "trained": "training"}
"""What makes a stage."""


@dataclass(frozen=True)
class Recovery:
    """How a model is brought back to what it did: the data and the task, and how it trains.

    importance: of `chanc.rewriter.IMPORTANCES`, by which channels are judged. sizes: of open axes. refit, trains:
    whether layers are refitted in closed form, and whether the network is trained; norms: with BatchNorm behind bare
    convolutions meanwhile. say: one line for a person.
    """

    original: ir.Model
    data: Data
    task: Task
    options: TrainOptions
    importance: str
    sizes: Mapping[str, int]
    refit: bool
    trains: bool
    norms: bool
    say: Callable[[str], None]

    @property
    def teacher(self) -> ir.Model | None:
        """The original, where the task learns from one."""
        return self.original if self.task.wants_teacher else None

    def score(self, model: ir.Model) -> float:
        """The task's score on the held-out samples. Raises: TrialError where it is no number."""
        found = score(trainable(model, self.task), self.data, self.task, self.options, self.teacher)
        if not np.isfinite(found):
            raise TrialError(f"the {self.task.score_name} of the model is {found}")
        return found

    def step(self, model: ir.Model, checkpoint: Path | None, watch: Watch | None, asked: Mapping[str, Any]) -> Step:
        """Cut, refit and train. asked: what `chanc.rewrite` is asked for.

        Raises: PlanError for bounds that can't be met; VerifyError; TrialError where the training fails.
        """
        done = self._cut(model, asked)
        after, scores = done.model, {"cut": self.score(done.model)}
        if self.refit:
            after = self._better(after, self._refitted(model, done), "refitted", scores)
        if self.trains:
            after = self._better(after, self._trained(after, checkpoint, watch), "trained", scores)
        after.metadata_props.update(self.data.metadata())
        now = analyze(after, dims=self.sizes, fold=False)
        return Step(after, self._widths(model, done), now.params, now.macs, scores, dict(done.trace.left))

    def _widths(self, model: ir.Model, done: Rewrite) -> Mapping[str, tuple[int, int]]:
        """What `Step.widths` tells."""
        return dict(done.trace.groups)

    def _cut(self, model: ir.Model, asked: Mapping[str, Any]) -> Rewrite:
        """The rewrite of a step. Groups that it would take under a share of what the original has stay as they are."""
        evidence, keep = self._evidence(model), [*asked["keep"]]
        own = {group.id: group.size for group in analyze(self.original, dims=self.sizes, fold=False).groups}
        while True:
            done = cut(model, evidence, self.importance, self.sizes, **{**asked, "keep": keep})
            widths = {name: new for name, (old, new) in done.trace.groups.items() if new < old}
            low = [name for name, new in widths.items() if new < LEAST_SHARE * own.get(name, 0)]
            if not low:
                return done
            keep += map(glob.escape, low)

    def _evidence(self, model: ir.Model) -> Gathered:
        return gather(
            model, self.data, self.task, teacher=self.teacher, device=self.options.device, seed=self.options.seed,
            activations=self.importance == "activation", sizes=self.sizes,
        )  # fmt: skip

    def rehearse(self) -> None:
        """Run a few samples, before anything is spent. Raises: ModelError where the model can't be run or trained."""
        rehearse(trainable(self.original, self.task), self.data, self.task)

    def _inputs(self, model: ir.Model, at_once: int) -> Iterator[dict[str, NDArray[Any]]]:
        """Some training samples as the model is fed them, in batches that it takes and in its inputs' types."""
        turns, values = Turns.of(model), inputs_of(model)
        kinds = {key: value.dtype.numpy() for key, value in values.items() if value.dtype is not None}
        device, seed = torch.device("cpu"), self.options.seed
        for batch in some_feed(self.data, next(iter(values)), device, CALIBRATION, at_once, seed):
            for part in turns.parts(batch.inputs):
                yield {key: np.array(value.numpy(), kinds.get(key), order="C") for key, value in part.items()}

    def _refitted(self, before: ir.Model, done: Rewrite) -> ir.Model:
        """The cut model with its layers refitted; as it is where that can't be done, which is said.

        The end of a detector may take one sample at a time only.
        """
        model: ir.Model = done.model
        for at_once in (AT_ONCE, 1):
            try:
                found = reconstruct(before, done, self._inputs(before, at_once), seed=self.options.seed)
            except ModelError as error:
                if at_once == 1:
                    self.say(f"note: no layer is refitted: {error}")
                continue
            self.say(str(found))
            model = found.model
            break
        return model

    def _better(self, before: ir.Model, made: ir.Model, stage: str, scores: dict[str, float]) -> ir.Model:
        """What a stage made, whose score is noted, or what was there before it where that is better, which is said."""
        (name, score), found = list(scores.items())[-1], self.score(made)
        if found == score or (found > score) == self.task.higher_is_better:
            scores[stage] = found
            return made
        self.say(f"note: the {_UNDONE[stage]} is undone, with it the {self.task.score_name} is {found:.4g}, "
                 f"{name} alone {score:.4g}")  # fmt: skip
        return before

    def _trained(self, model: ir.Model, checkpoint: Path | None, watch: Watch | None) -> ir.Model:
        """A copy of the model that was trained."""

        def trains(made: ir.Model) -> None:
            train(
                made, self.data, self.task, self.options, teacher=self.teacher, checkpoint=checkpoint,
                on_step=watch.step if watch is not None else None, on_epoch=watch.epoch if watch is not None else None,
            )  # fmt: skip

        if self.norms:
            return with_norms(model, self.data, self.sizes, trains, self.say)
        made = copy_model(model)
        trains(made)
        return made
