"""The registry of tasks: each one registers itself, in a file of its own."""

from __future__ import annotations

from chanc.errors import RunError
from chanc.registry import Registry
from chanc.training.task import Task

TASKS: Registry[type[Task]] = Registry("task", "chanc.tasks", "chanc.tasks", error=RunError)
