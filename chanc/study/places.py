"""Where each option of a search belongs, by its name on the command line: one list of names, and what becomes of it.

An option is an argument of `search`, or a field of the method, of the trials' training, of the final one's, or of the
task. The names follow from the signature, the dataclasses and the registries.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from chanc.errors import RunError
from chanc.fields import options
from chanc.study.methods.registry import METHODS
from chanc.study.presets import Options
from chanc.tasks import TASKS
from chanc.training.options import TrainOptions

FINAL = ("lr", "weight_decay", "schedule", "drop_path")
"""Training options that the final trainings have of their own, under another name: final_lr."""

SHARED = ("batch_size", "crop_padding", "flip", "device", "deterministic")
"""Training options of the trials that the final trainings share."""

PARTS = ("options", "train", "final")
"""Arguments of `search` that hold options by name."""

NOT_OF_TRIALS = ("epochs", "seed", "final_lr")
"""Fields of TrainOptions that are no options of the trials: the search has its own, or a final training means them."""


def placed(named: Options) -> dict[str, Any]:
    """The arguments of `search` that these options make; raises RunError for a name that there isn't."""
    found: dict[str, Any] = {}
    for name, value in named.items():
        for part, key in places(name):
            if part:
                found.setdefault(part, {})[key] = value
            else:
                found[key] = value
    return found


def places(name: str) -> list[tuple[str, str]]:
    """The arguments of `search` (one of PARTS, or "" for an argument itself), and the names there.

    Raises RunError for a name that there isn't, with the nearest that is.
    """
    if name in _arguments():
        return [("", name)]
    if name.startswith("final_") and name.removeprefix("final_") in FINAL:
        return [("final", name.removeprefix("final_"))]
    if name in task_fields():
        return [("train", name), ("final", name)]
    if name in options(TrainOptions) and name not in NOT_OF_TRIALS:
        return [("train", name), *([("final", name)] if name in SHARED else [])]
    if any(name in options(method) for method in METHODS.values()):
        return [("options", name)]
    raise RunError(unknown(name, names()))


def names() -> list[str]:
    """The names of all options."""
    training = [name for name in options(TrainOptions) if name not in NOT_OF_TRIALS]
    methods = [name for method in METHODS.values() for name in options(method)]
    found = [*_arguments(), *(f"final_{name}" for name in FINAL), *task_fields(), *training, *methods]
    return list(dict.fromkeys(found))


def applies(name: str, algo: str, task: str) -> bool:
    """Whether the method and the task have an option of that name: those of others are none of theirs."""
    (part, _), *more = places(name)
    if part == "options":
        return name in options(METHODS[algo])
    return not (part == "train" and more and name in task_fields()) or name in options(TASKS[task])


def task_fields() -> list[str]:
    """The options of all tasks."""
    return list(dict.fromkeys(name for task in TASKS.values() for name in options(task)))


def over(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `search` with others in their place; options by name one by one."""
    inner = {part: {**first.get(part, {}), **second[part]} for part in PARTS if part in second}
    return {**first, **second, **inner}


def unknown(name: str, known: Iterable[str]) -> str:
    """One line on an option that there isn't."""
    near = difflib.get_close_matches(name.replace("-", "_"), known, 1)
    guess = f": did you mean {near[0].replace('_', '-')}?" if near else ""
    return f"a search has no option {name.replace('_', '-')}{guess}"


@functools.cache
def _arguments() -> tuple[str, ...]:
    """The arguments of `search` that are no options by name themselves."""
    from chanc.study.study import search

    parameters = inspect.signature(search).parameters
    return tuple(name for name in parameters if name not in (*PARTS, "asked"))
