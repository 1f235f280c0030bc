"""What a search is asked for: the run keeps it, so that it can be gone on with from its folder alone."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from chanc.errors import RunError
from chanc.files import plain
from chanc.runs import read_run
from chanc.runs.rundir import refuse_empty

P = ParamSpec("P")
R = TypeVar("R")

OF_THE_CALL = ("model", "out", "resume", "timeout", "console", "quiet", "command", "on_change", "pool",
               "trial", "shelf")  # fmt: skip
"""Arguments that belong to one call and not to the run."""


def remembered(search: Callable[P, R]) -> Callable[P, R]:
    """The search with its other arguments kept by the run: one that is resumed takes what isn't given from there.

    The search is called with them as `asked`, too. What is None counts as not given, inside a mapping too. An argument
    that is another one than the run's goes on to the search, which refuses it or, in a final training, follows it.
    """

    @functools.wraps(search)
    def called(*args: P.args, **given: P.kwargs) -> R:
        own = {name: value for name, value in given.items() if name in OF_THE_CALL}
        asked = _given({name: value for name, value in given.items() if name not in OF_THE_CALL})
        if own.get("resume"):
            asked = _over(_kept(Path(cast("str | os.PathLike[str]", own.get("out", "run")))), asked)
        elif not args and own.get("model") is None:
            raise RunError("a search needs a model to start from; only a run that is resumed knows its own")
        return cast(Callable[..., R], search)(*args, **own, **asked, asked=asked)

    return called


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
