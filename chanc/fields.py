"""Options as fields of frozen dataclasses: said once, for the checks, the command line and the record.

    gamma: float = field(default=0.8, metadata={"help": "Weight of the past.", "range": (0, 1)})

A field's metadata may hold `help`, one line; `range`, the least and the largest value; `choices`, all values there are
(a `Literal` needs none); `count`: a number that people write as 1.5M; `amount`: a "count" or "ms", or a share of what
the model has, 25%; `flag`: another name on the command line; `default`: how the default is described, where it is not
just a value. A subclass that gives a field another default inherits what it doesn't say.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union

UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Option:
    """A field as others need it. kind: its type without None, or None for one that no single word can stand for."""

    name: str
    kind: type | None
    default: Any
    help: str = ""
    range: tuple[float, float] = UNBOUNDED
    choices: tuple[str, ...] = ()
    count: bool = False
    amount: str = ""
    flag: str = ""
    shown: str = ""

    def fault(self, value: Any) -> str:
        """What is wrong with a value, in one line; empty where nothing is. None is always right."""
        if value is None:
            return ""
        if self.choices and value not in self.choices:
            return f"{self.name} {value!r} is unknown: one of {', '.join(self.choices)}"
        low, high = self.range
        if self.range != UNBOUNDED and not low <= value <= high:
            return f"{self.name} {value} lies outside {low:g}..{high:g}"
        return ""


@functools.cache
def options(cls: type) -> dict[str, Option]:
    """The options of a dataclass, by name, in the order of its fields."""
    hints = typing.get_type_hints(cls)
    return {field.name: _option(cls, field, hints[field.name]) for field in dataclasses.fields(cls) if field.init}


def fault(instance: Any) -> str:
    """What is wrong with the first bad field of a dataclass' instance; empty where all are in range."""
    declared = options(type(instance))  # type: ignore[arg-type]  # every type is hashable
    return next((wrong for name, option in declared.items() if (wrong := option.fault(getattr(instance, name)))), "")


def _option(cls: type, field: dataclasses.Field[Any], hint: Any) -> Option:
    facts = _facts(cls, field.name)
    kind, choices = (str, ()) if facts.get("amount") else _kind(hint)
    default = None if field.default is dataclasses.MISSING else field.default
    return Option(
        field.name,
        kind,
        default,
        help=facts.get("help", ""),
        range=facts.get("range", UNBOUNDED),
        choices=tuple(facts.get("choices", choices)),
        count=facts.get("count", False),
        amount=facts.get("amount", ""),
        flag=facts.get("flag", ""),
        shown=facts.get("default", ""),
    )


def _facts(cls: type, name: str) -> Mapping[str, Any]:
    """The metadata of a field: that of the nearest class which says any."""
    for base in cls.__mro__:
        field = base.__dict__.get("__dataclass_fields__", {}).get(name)
        if field is not None and field.metadata:
            return dict(field.metadata)
    return {}


def _kind(hint: Any) -> tuple[type | None, tuple[str, ...]]:
    """The type that a word is read as, and the values of a Literal of words."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        rest = [part for part in typing.get_args(hint) if part is not type(None)]
        return _kind(rest[0]) if len(rest) == 1 else (None, ())
    if typing.get_origin(hint) is Literal and all(isinstance(value, str) for value in typing.get_args(hint)):
        return str, typing.get_args(hint)
    return (hint if hint in (bool, int, float, str) else None), ()
