"""Tasks by name: what a network can be trained for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from chanc.errors import RunError
from chanc.registry import Registry
from chanc.tasks.classification import Classification
from chanc.training.options import TrainOptions
from chanc.training.task import Task

__all__ = ["TASKS", "Classification", "configured"]

TASKS: Registry[type[Task]] = Registry("task", "chanc.tasks", error=RunError)
TASKS.add("classification", Classification)


def configured(name: str, recipe: Mapping[str, object]) -> tuple[Task, TrainOptions]:
    """The task of that name and the options of a training, from one recipe: each entry goes to whom it belongs.

    Raises: RunError for an unknown task or option, or a value out of range.
    """
    own, general = (_taken(kind, recipe) for kind in (TASKS[name], TrainOptions))
    unknown = recipe.keys() - own.keys() - general.keys()
    if unknown:
        raise RunError(f"unknown training option: {min(unknown)}")
    return TASKS[name](**own), TrainOptions(**general)  # type: ignore[arg-type]


def _taken(kind: type, recipe: Mapping[str, object]) -> dict[str, object]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in recipe.items() if name in names}
