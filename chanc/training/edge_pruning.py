"""One network that loses edges while it trains: whole first, then step by step, an epoch after each step.

    epochs 0 .. options.epochs - 1    all edges, by the options' schedule
    each epoch after                  saliency over some batches -> the least edges go -> an epoch at `rate`

until the goal is met. Everything random in an epoch follows from the seed and the epoch's number, so a checkpoint holds
no random state.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict, cast

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.optim.optimizer import StateDict

from chanc.analysis import Analysis, analyze
from chanc.clock import Clock
from chanc.data import Data
from chanc.errors import ModelError, RunError
from chanc.ir import copy_model
from chanc.ir.initializers import constant_shape
from chanc.training.checkpoint import load_state, save_state
from chanc.training.columns import Columns, Saliency, Scores
from chanc.training.consumers import Edges, Units, edges_of
from chanc.training.cutting import Cutter, Goal
from chanc.training.devices import isolated, pick_device
from chanc.training.evaluation import evaluate
from chanc.training.module import draw_anew, trainable
from chanc.training.options import TrainOptions
from chanc.training.task import Task
from chanc.training.train import rehearse
from chanc.training.trainer import OnStep, Training
from chanc.training.units import unit_map


@dataclass(frozen=True)
class PruneOptions:
    """How edges are pruned.

    saliency: "random" draws the order anew in each step. batches: that one is summed over. rate: the learning rate
    between steps. wanted, keep: see `chanc.training.consumers.edges_of`.
    """

    goal: Goal
    saliency: Saliency | Literal["random"] = "taylor"
    batches: int = 50
    rate: float = 1e-4
    wanted: tuple[str, ...] = ("*",)
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class PrunedEpoch:
    """What an epoch showed.

    loss: the mean in training; held_out, score: on the held-out part. inputs, params: what is left of them. cut: the
    units that consumers dropped before the epoch; counts: the inputs that each weight has left, by its initializer.
    seconds by what they went into: "saliency", "cut", "train", "evaluate".
    """

    epoch: int
    loss: float
    held_out: float
    score: float
    rate: float
    inputs: int
    params: int
    cut: Units
    counts: Mapping[str, int]
    seconds: Mapping[str, float] = field(default_factory=dict)


class _State(TypedDict):
    """Everything that the next epoch depends on."""

    kept: Tensor
    module: dict[str, Tensor]
    optimizer: StateDict
    schedule: StateDict | None


class Pruning:
    """A network in training that loses edges. `edges.fixed` tells of each weight that keeps its inputs why."""

    def __init__(
        self, model: ir.Model, data: Data, task: Task, options: TrainOptions, pruning: PruneOptions, *,
        sizes: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        """`model` stays as it is; `sizes` are those of its open axes.

        Raises: ModelError where the model can't be trained, has no edges or too few; RunError for options that don't go
        with columns that go.
        """
        if options.optimizer == "adas" or options.ema_decay is not None or options.compile:
            raise RunError("a network that loses edges in training takes sgd or adamw, no averaged weights, and isn't "
                           "compiled")  # fmt: skip
        self.device = pick_device(options.device)
        self.model, self.data, self.task, self.options, self.pruning = model, data, task, options, pruning
        self.net = trainable(model, task)
        rehearse(self.net, data, task)
        analysis = analyze(model, dims=sizes or {}, fold=False)
        self._units = unit_map(analysis, self.net)
        self.edges = edges_of(analysis, self._units, self.net, wanted=pruning.wanted, keep=pruning.keep)
        least = _least(analysis, self.edges)
        if not pruning.goal.met(least, self.edges.params):
            raise ModelError(_too_sparse(analysis, self.edges, least))
        self.cutter = Cutter(analysis, self.edges, pruning.goal)

    def begin(self, draw: bool) -> None:
        """Make all that trains; `draw`: weights are drawn anew first."""
        with isolated(self.device, self._seeded(-1)):
            if draw:
                draw_anew(self.net.module)
            self.training = Training(self.net, self.data, self.task, self.options, self.device, clock=Clock())
        self.columns = Columns(self.net, self.edges, self._units)

    def done(self, epochs: int) -> bool:
        """Whether nothing is to come after so many epochs."""
        met = self.pruning.goal.met(self.edges.cost(self.columns.kept), self.edges.params)
        return epochs >= self.options.epochs and met

    def epoch(self, epoch: int, on_step: OnStep | None = None) -> PrunedEpoch:
        """Take a step where the time has come, train for one epoch, and judge.

        Raises: TrialError for a loss that is not finite; ModelError where no step leads any further.
        """
        clock, training, before = Clock(), self.training, self.columns.kept
        with isolated(self.device, self._seeded(epoch)):
            if epoch >= self.options.epochs:
                self._step(epoch - self.options.epochs + 1, clock)
            training.generator.manual_seed(self._seeded(epoch).seed)
            rate = float(training.optimizer.param_groups[0]["lr"])
            loss = training.train_epoch(epoch, on_step)
            clock.lap("train")
            found = evaluate(self.net, self.task, training.held_out, amp=training.amp)
            clock.lap("evaluate")
        kept, edges = self.columns.kept, self.edges
        return PrunedEpoch(epoch, loss, found.loss, found.score, rate, int(edges.inputs[kept].sum()), edges.cost(kept),
                           edges.units(before & ~kept), edges.counts(kept), clock.seconds)  # fmt: skip

    def decided(self) -> Units:
        """The kept units of each consumer that has lost any."""
        return self.edges.decided(self.columns.kept)

    def trained(self) -> ir.Model:
        """The model with what was trained: zeros in the columns that are gone."""
        made = copy_model(self.model)
        self.net.write_back(made)
        made.metadata_props.update(self.data.metadata())
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that the next epoch depends on, whole or not at all."""
        schedule = self.training.schedule
        state: _State = {
            "kept": torch.from_numpy(self.columns.kept),
            "module": dict(self.net.module.state_dict()),
            "optimizer": self.training.optimizer.state_dict(),
            "schedule": schedule.state_dict() if schedule is not None else None,
        }
        save_state(path, cast("dict[str, object]", state))

    def restore(self, path: Path) -> None:
        """Take back what `save` wrote. Raises: RunError for the file of another search."""
        state = cast(_State, load_state(path))
        if state["kept"].numel() != len(self.edges):
            raise RunError(f"{path} was made with other edges")
        self.net.module.load_state_dict(state["module"])
        self.training.optimizer.load_state_dict(state["optimizer"])
        if state["schedule"] is None:
            self.training.schedule = None
        elif self.training.schedule is not None:
            self.training.schedule.load_state_dict(state["schedule"])
        self.columns.keep(state["kept"].numpy(), self.training.optimizer)

    def scores(self, step: int) -> Scores:
        """How much the loss hangs on each edge, before a step."""
        pruning, seed = self.pruning, self._seeded(self.options.epochs + step).seed
        if pruning.saliency == "random":
            return np.random.default_rng([seed, step]).random(len(self.edges))
        self.training.generator.manual_seed(seed)
        batches = itertools.islice(iter(self.training.feed), pruning.batches)
        return self.columns.scores(batches, self.training.loss, pruning.saliency)

    def drawn(self, turn: int) -> Units:
        """The kept units after one random step from all edges, another one for each turn."""
        scores = np.random.default_rng([self.options.seed, turn]).random(len(self.edges))
        return self.edges.decided(self.cutter.cut(np.ones(len(self.edges), dtype=bool), scores, 1))

    def _step(self, step: int, clock: Clock) -> None:
        """The least salient edges go; from now on the learning rate is that between steps."""
        scores = self.scores(step)
        clock.lap("saliency")
        kept = self.cutter.cut(self.columns.kept, scores, step)
        if kept.sum() == self.columns.kept.sum():
            raise ModelError(f"no edge can go any more at {self.edges.cost(kept):,} params: what is left keeps the "
                             "model together; ask for less sparsity")  # fmt: skip
        self.columns.keep(kept, self.training.optimizer)
        self.training.schedule = None
        for group in self.training.optimizer.param_groups:
            group["lr"] = self.pruning.rate
        clock.lap("cut")

    def _seeded(self, epoch: int) -> TrainOptions:
        seed = np.random.SeedSequence([self.options.seed, epoch + 1]).generate_state(1)[0]
        return dataclasses.replace(self.options, seed=int(seed))


def _least(analysis: Analysis, edges: Edges) -> int:
    """The params that are left when all edges are gone that can go."""
    every = np.ones(len(edges), dtype=bool)
    return edges.cost(Cutter(analysis, edges, Goal(share=0.0, gamma=1.0)).cut(every, np.zeros(len(edges)), 1))


def _too_sparse(analysis: Analysis, edges: Edges, least: int) -> str:
    """What the most is that edges can give, and where the rest of the params is."""
    weights = analysis.model.graph.initializers
    stay: Counter[str] = Counter()
    for name, why in edges.fixed.items():
        stay[why] += int(np.prod(constant_shape(weights[name])))
    told = f"; {stay.total():,} are in weights that keep their inputs" if stay else ""
    told += f", most because {stay.most_common(1)[0][0]}" if stay else ""
    most = math.floor(1000 * (1 - least / edges.params)) / 1000
    return (f"without any edge that can go this model still has {least:,} of its {edges.params:,} params: a sparsity "
            f"of {most:.3f} is the most that edges can give{told}")  # fmt: skip
