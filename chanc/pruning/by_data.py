"""A pruning by data: what was asked for made into a recovery and its steps, and these carried out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from chanc import runs
from chanc.analysis import Analysis, analyze
from chanc.backends.ort import likely_sizes
from chanc.data import DataSource
from chanc.ir import save
from chanc.ir.sizes import Sizes
from chanc.pruning.budgets import Budgets
from chanc.pruning.edge_steps import EdgeRecovery
from chanc.pruning.loop import Steps
from chanc.pruning.outcome import Pruned, Watch
from chanc.pruning.steps import Recovery
from chanc.runs import RunDir
from chanc.runs.machine import environment
from chanc.runs.rundir import refuse_taken
from chanc.tasks import Classification, Fed, classifies, configured, fed, with_recipe
from chanc.training.inputs import sizes_seen
from chanc.training.module import remarks
from chanc.training.options import InputOptions
from chanc.training.task import Task

USUAL: Mapping[str, Any] = {"optimizer": "adamw"}
"""How a pruned model is trained where nobody says it: gently, for its weights are good ones."""
TAUGHT: Mapping[str, Any] = {**USUAL, "lr": 3e-4}
"""The same by what the original says: a refitted model is near it, and a larger rate leads away again (measured)."""


@dataclass(frozen=True)
class Asked:
    """What `chanc.prune` was asked for, as it tells: the data, the task, and how it goes.

    edges: these go, in place of channels. chosen: what a rewrite is asked for besides its bounds. given: sizes of open
    axes that somebody said. options: of the training and the task. norms: None for as it suits the task.
    """

    data: DataSource
    task: str | Task
    data_root: str | os.PathLike[str] | None
    limits: tuple[int | None, int | None]
    input: InputOptions
    steps: int
    epochs: int
    refit: bool
    norms: bool | None
    importance: str
    edges: bool
    chosen: Mapping[str, Any]
    given: Sizes
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """Where the steps of a pruning are kept, whether it goes on with them, and what the record says of the call."""

    path: Path
    resume: bool
    model: object
    command: Sequence[str]

    def opened(self, model: ir.Model, settings: Mapping[str, object]) -> RunDir:
        """The run directory, new or gone on with. Raises: RunError where it is another one's."""
        about = environment(self.model, self.command)
        if self.resume:
            return runs.resume(self.path, settings, environment=about)
        return runs.create(self.path, settings, about, {runs.INPUT: lambda file: save(model, file)})


def by_data(
    model: ir.Model, budgets: Budgets, asked: Asked, kept: Kept | None, *, say: Callable[[str], None],
    begin: Callable[[int], object], watch: Watch | None,
) -> Pruned:  # fmt: skip
    """Prune a model by data; the model stays as it is.

    What can't be is told before anything is written. Raises: as `chanc.prune`.
    """
    if kept is not None and not kept.resume:
        refuse_taken(kept.path)
    recovery, recipe = _recovery(model, asked, say)
    own = analyze(model, dims=recovery.sizes, fold=False)
    steps = Steps(model, own, budgets, recovery, {**asked.chosen, "seed": recovery.options.seed}, asked.steps)
    steps.check()
    recovery.rehearse()
    before = recovery.score(model)
    run = kept.opened(model, _settings(asked, budgets, recovery, recipe, own)) if kept is not None else None
    with run.owned() if run is not None else nullcontext():
        done = replace(steps, run=run).carried_out(watch, begin)
    return Pruned(done[-1].model, done, own.params, own.macs, recovery.sizes, before, recovery.task.score_name)


def _recovery(model: ir.Model, asked: Asked, say: Callable[[str], None]) -> tuple[Recovery, Mapping[str, Any]]:
    """How the model is brought back to what it did, and the recipe of the training as somebody gave it."""
    usual = TAUGHT if configured(asked.task, asked.options)[0].wants_teacher else USUAL
    recipe = {**({} if "optimizer" in asked.options else usual), **asked.options}
    found = _fed(model, asked, recipe)
    for note in (found.data.note, found.told, *remarks(model)):
        if note:
            say(f"note: {note}")
    if asked.task == "distillation" and classifies(model, found.data):
        recipe = {"logits": True, **recipe}  # the labels of the data tell that these are classes
    task, options = with_recipe(asked.task, {**recipe, "epochs": max(asked.epochs, 1)}, found.data)
    sizes = {**sizes_seen(model, found.data), **asked.given}
    # Measured: what learns labels gains by it, what learns from the original doesn't.
    norms = asked.norms if asked.norms is not None else isinstance(task, Classification)
    trains, way = asked.epochs > 0, EdgeRecovery if asked.edges else Recovery
    how = way(model, found.data, task, options, asked.importance, sizes, asked.refit, trains, norms, say)
    return how, recipe


def _fed(model: ir.Model, asked: Asked, recipe: Mapping[str, Any]) -> Fed:
    task, options = configured(asked.task, recipe)
    train, test = asked.limits
    random = isinstance(asked.data, str) and asked.data == "random"
    sizes = {**(likely_sizes(model) or {}), **asked.given} if random else asked.given
    return fed(
        model, asked.data, task, asked.input, teacher=model if task.wants_teacher else None, root=asked.data_root,
        limit_train=train, limit_test=test, sizes=sizes, device=options.device, seed=options.seed,
        fresh=False,
    )  # fmt: skip


def _settings(
    asked: Asked, budgets: Budgets, recovery: Recovery, recipe: Mapping[str, Any], own: Analysis
) -> dict[str, object]:
    """What a run that is gone on with must agree on."""
    return {
        "kind": "prune", "max_params": budgets.params, "max_macs": budgets.macs, "max_latency": budgets.latency,
        "task": recovery.task.name, "steps": asked.steps, "epochs": asked.epochs, "refit": asked.refit,
        "insert_batchnorm": recovery.norms,
        "importance": asked.importance, "edges": asked.edges, **asked.chosen,
        "train": {name: value for name, value in recipe.items() if name != "device"},
        "data": recovery.data.fingerprint(), "params": own.params, "macs": own.macs, "sizes": recovery.sizes,
    }  # fmt: skip
