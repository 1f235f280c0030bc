"""Search methods by name, trial methods and whole ones alike.

    @register("mine")
    @dataclass(frozen=True)
    class Mine(Sampler): ...

A method's options are the fields of its dataclass; `chanc.fields` says what their metadata may hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, cast

from chanc import fields
from chanc.errors import RunError
from chanc.files import Json
from chanc.registry import Registry
from chanc.study.methods.protocol import Method, TrialMethod, WholeMethod

METHODS: Registry[type[Method]] = Registry("search method", "chanc.methods", "chanc.study.methods", error=RunError)
M = TypeVar("M", bound=type[Method])


def register(name: str) -> Callable[[M], M]:
    """Class decorator: make a method known under `name`. Raises RunError where the name is another one's."""

    def add(cls: M) -> M:
        METHODS.add(name, cls)
        cls.name = name
        return cls

    return add


def names() -> tuple[str, ...]:
    """The names of all registered methods, sorted."""
    return METHODS.names()


def make(name: str, **options: Any) -> TrialMethod | WholeMethod:
    """The method of that name with the given options.

    Raises RunError for an unknown name or option, ValueError for a value out of range.
    """
    known = fields_of(name)
    unknown = sorted(set(options) - known)
    if unknown:
        raise RunError(f"the {name} search has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")
    method = METHODS[name](**options)
    if wrong := fields.fault(method):
        raise ValueError(wrong)
    return cast(TrialMethod | WholeMethod, method)


def fields_of(name: str) -> set[str]:
    """The options of a method; raises RunError for an unknown one."""
    return {entry.name for entry in dataclasses.fields(METHODS[name])}


def options_of(method: Method) -> dict[str, Json]:
    """The options as a JSON object; `make(name, **options)` gives an equal method."""
    return dataclasses.asdict(method)


def trains_itself(name: str) -> bool:
    """Whether the method of that name is a whole one, and no trial method."""
    return hasattr(METHODS[name], "run")
