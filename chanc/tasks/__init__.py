"""Tasks by name: what a network can be trained for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from chanc import fields, plugins
from chanc.data import Data
from chanc.errors import RunError
from chanc.tasks.classification import Classification
from chanc.tasks.distillation import Distillation
from chanc.tasks.fitting import Fed, classifies, fed
from chanc.tasks.own import own_task
from chanc.tasks.registry import TASKS
from chanc.training.options import TrainOptions
from chanc.training.recipes import RECIPES
from chanc.training.task import Task

__all__ = ["TASKS", "Classification", "Distillation", "Fed", "Task", "classifies", "configured", "fed", "task_class",
           "with_recipe"]  # fmt: skip


def configured(task: str | Task, recipe: Mapping[str, object]) -> tuple[Task, TrainOptions]:
    """A task and the options of a training, from one recipe: each entry goes to whom it belongs.

    task: a name of `TASKS`, `module:Class`, or a task that is ready, to which no entry belongs. Raises: RunError for an
    unknown task or option, or a value out of range; ChancError for a module that can't be imported.
    """
    kind = task if isinstance(task, Task) else task_class(task)
    own, general = ({} if isinstance(kind, Task) else _taken(kind, recipe)), _taken(TrainOptions, recipe)
    unknown = recipe.keys() - own.keys() - general.keys()
    if unknown:
        raise RunError(f"unknown training option: {min(unknown)}")
    with plugins.guarded(f"making the task {task}", RunError):
        return kind if isinstance(kind, Task) else kind(**own), TrainOptions(**general)  # type: ignore[arg-type]


def with_recipe(task: str | Task, given: Mapping[str, object], data: Data) -> tuple[Task, TrainOptions]:
    """The same; what isn't given follows from the optimizer (`RECIPES`), and from what the data bear."""
    usual = RECIPES.get(str(given.get("optimizer", "sgd")), {})
    return configured(task, {**usual, **data.augmentation, **given})


def task_class(name: str) -> type[Task] | Task:
    """What a name of `TASKS` or `module:Class` stands for. Raises: as `configured`."""
    return own_task(name) if ":" in name else TASKS[name]


def _taken(kind: type, recipe: Mapping[str, object]) -> dict[str, object]:
    known = fields.options(kind) if dataclasses.is_dataclass(kind) else {}
    return {name: value for name, value in recipe.items() if name in known}
