"""A user's own task by the word `module:Class`: the working directory comes first on the path."""

from __future__ import annotations

import inspect

from chanc import plugins
from chanc.errors import RunError
from chanc.training.task import Task


def own_task(spec: str) -> type[Task] | Task:
    """The subclass of Task, or the instance of one, that stands there.

    Raises: RunError where it isn't there or is something else; ChancError where importing the module fails.
    """
    path, _, name = spec.partition(":")
    if not path or not name:
        raise RunError(f"{spec!r} names no task: give MODULE:CLASS")
    with plugins.working_directory():
        home = plugins.import_own(path)
    found = getattr(home, name, None)
    if isinstance(found, Task):
        return found
    if not (isinstance(found, type) and issubclass(found, Task)):
        tasks = [key for key, value in vars(home).items() if isinstance(value, Task) or _is_kind(value)]
        raise RunError(f"{path} has no task {name!r} (a subclass of chanc.training.task.Task); "
                       f"it has {', '.join(sorted(tasks)) or 'none'}")  # fmt: skip
    missing: frozenset[str] = getattr(found, "__abstractmethods__", frozenset())
    if missing:
        raise RunError(f"the task {spec} lacks {', '.join(sorted(missing))}")
    return found


def _is_kind(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Task) and not inspect.isabstract(value)
