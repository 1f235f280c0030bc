"""Tasks by name: what a network can be trained for."""

from __future__ import annotations

from collections.abc import Mapping

from chanc import fields
from chanc.errors import RunError
from chanc.tasks.classification import Classification
from chanc.tasks.registry import TASKS
from chanc.training.options import TrainOptions
from chanc.training.task import Task

__all__ = ["TASKS", "Classification", "configured"]


def configured(name: str, recipe: Mapping[str, object]) -> tuple[Task, TrainOptions]:
    """The task of that name and the options of a training, from one recipe: each entry goes to whom it belongs.

    Raises: RunError for an unknown task or option, or a value out of range.
    """
    task = TASKS[name]
    own, general = (_taken(kind, recipe) for kind in (task, TrainOptions))
    unknown = recipe.keys() - own.keys() - general.keys()
    if unknown:
        raise RunError(f"unknown training option: {min(unknown)}")
    return task(**own), TrainOptions(**general)  # type: ignore[arg-type]


def _taken(kind: type, recipe: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in recipe.items() if name in fields.options(kind)}
