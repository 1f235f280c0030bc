"""From JSON to a frozen dataclass, checked against its annotations; `chanc.files.plain` is the way back."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from chanc.files import Json

T = TypeVar("T")


def decode(kind: type[T], value: Json) -> T:
    """The dataclass `kind` from its JSON object; raises ValueError that names the field which doesn't fit.

    Fields may be numbers, strings, booleans, dataclasses, tuples of one kind, mappings from strings, one of these or
    None, and Any, which is any JSON. "nan", "inf" and "-inf" are numbers.
    """
    return typing.cast(T, _dataclass(kind, value, kind.__name__))


def _value(kind: object, value: Json, name: str) -> object:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, name)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _value(inner[0], value, name)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(inner[0], entry, name) for entry in value)
    if origin is not None and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: _value(inner[1], entry, f"{name}.{key}") for key, entry in value.items()}
    if kind is float:
        return _number(value, name)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    raise ValueError(f"{name} is no {getattr(kind, '__name__', kind)}")


def _number(value: Json, name: str) -> float:
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is no number")
    return value


def _dataclass(kind: type, value: Json, name: str) -> object:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no JSON object")
    fields = _fields(kind)
    strange = [key for key in value if key not in fields]
    if strange:
        raise ValueError(f"{name} has no field {strange[0]!r}")
    missing = [key for key, (_, needed) in fields.items() if needed and key not in value]
    if missing:
        raise ValueError(f"{name} lacks {missing[0]!r}")
    return kind(**{key: _value(fields[key][0], entry, key) for key, entry in value.items()})


@functools.cache
def _fields(kind: type) -> dict[str, tuple[object, bool]]:
    """Name -> (annotation, whether it has to be given)."""
    hints = typing.get_type_hints(kind)
    return {
        field.name: (hints[field.name], field.default is field.default_factory is dataclasses.MISSING)
        for field in dataclasses.fields(kind)
    }
