"""What a search is asked for: the run keeps it, so that it can be gone on with from its folder alone."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, ParamSpec, TypeVar, cast

from chanc.errors import RunError
from chanc.files import plain
from chanc.runs import read_run
from chanc.runs.rundir import refuse_empty
from chanc.training.task import Task

P = ParamSpec("P")
R = TypeVar("R")

OF_THE_CALL = ("model", "out", "resume", "timeout", "console", "quiet", "command", "on_change", "pool",
               "trial", "shelf")  # fmt: skip
"""Arguments that belong to one call and not to the run."""

BY_HAND = ("data", "task")
"""Arguments that may be objects, which only who calls can give again: the run keeps a word for them."""
MARK = "<"
"""How such a word begins."""


def remembered(search: Callable[P, R]) -> Callable[P, R]:
    """The search with its other arguments kept by the run: one that is resumed takes what isn't given from there.

    The search is called with them as `asked`, too. What is None counts as not given, inside a mapping too. An argument
    that is another one than the run's goes on to the search, which refuses it or, in a final training, follows it.
    Raises: RunError for a run without a model, and for one that is gone on with without the data or the task that were
    objects of Python.
    """

    @functools.wraps(search)
    def called(*args: P.args, **given: P.kwargs) -> R:
        own = {name: value for name, value in given.items() if name in OF_THE_CALL}
        objects = {name: given[name] for name in BY_HAND if _is_object(given.get(name))}
        words = {name: word(value) for name, value in objects.items()}
        asked = _given({name: value for name, value in {**given, **words}.items() if name not in OF_THE_CALL})
        if objects and own.get("pool") is not None:
            raise RunError("other processes can't have data or a task that are objects of Python: give a path, or "
                           "module:Class")  # fmt: skip
        if own.get("resume"):
            asked = _over(_kept(Path(cast("str | os.PathLike[str]", own.get("out", "run")))), asked)
            _refuse_words(asked, objects)
        elif not args and own.get("model") is None:
            raise RunError("a search needs a model to start from; only a run that is resumed knows its own")
        return cast(Callable[..., R], search)(*args, **own, **{**asked, **objects}, asked=asked)

    return called


def word(value: object) -> str:
    """What stands for data or a task in the record: a path or a name, or the task's options where it is an object.

    Data that came from Python are told apart by what they hold.
    """
    if not _is_object(value):
        return str(value)
    if not isinstance(value, Task):
        return f"{MARK}from Python>"
    return f"{MARK}{repr(value) if dataclasses.is_dataclass(value) else type(value).__name__}>"


def _is_object(value: object) -> bool:
    return not isinstance(value, NoneType | str | os.PathLike)


def _refuse_words(asked: Mapping[str, Any], objects: Mapping[str, object]) -> None:
    for name in BY_HAND:
        if name not in objects and str(asked.get(name)).startswith(MARK):
            raise RunError(f"the {name} of this run came from Python: give it again")


def _kept(folder: Path) -> dict[str, Any]:
    refuse_empty(folder)
    return dict(read_run(folder).asked)


def _given(values: Mapping[str, object]) -> dict[str, Any]:
    """The values as JSON, without those that are None."""
    return {name: _given(value) if isinstance(value, Mapping) else plain(value)
            for name, value in values.items() if value is not None}  # fmt: skip


def _over(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for before, with what is asked for now in its place; mappings entry by entry."""
    inner = {name: {**before.get(name, {}), **value} for name, value in now.items() if isinstance(value, dict)}
    return {**before, **now, **inner}
