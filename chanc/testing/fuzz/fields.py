"""A field of a message, wherever it is in a model, gets a value that it seldom has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]

from chanc.testing.fuzz.values import FLOATS, INTEGERS, TEXTS, Rng, pick

INTEGER_TYPES = {
    FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_ENUM,
}  # fmt: skip


def change_field(model: onnx.ModelProto, rng: Rng) -> None:
    """Give a field, wherever it is, a value that it seldom has; or drop it, or repeat an entry."""
    messages = list(messages_in(model))
    for _ in range(20):
        message = pick(rng, messages)
        if message.DESCRIPTOR.fields and _change(message, pick(rng, list(message.DESCRIPTOR.fields)), rng):
            return


def messages_in(message: Any) -> Iterator[Any]:
    """A message and all in it, at any depth."""
    yield message
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from messages_in(inner)


def _change(message: Any, field: Any, rng: Rng) -> bool:
    """Whether the field of that message was changed."""
    if field.is_repeated:
        return _change_entries(getattr(message, field.name), field, rng)
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        there = message.HasField(field.name)
        (message.ClearField if there else lambda name: getattr(message, name).SetInParent())(field.name)
        return True
    if rng.random() < 0.15 and message.HasField(field.name):
        message.ClearField(field.name)
        return True
    setattr(message, field.name, _value(field, getattr(message, field.name), rng))
    return True


def _change_entries(entries: Any, field: Any, rng: Rng) -> bool:
    kind, scalar = int(rng.integers(5)), field.type != FieldDescriptor.TYPE_MESSAGE
    if scalar and (kind == 0 or not entries):
        entries.append(_value(field, None, rng))
        return True
    if not entries:
        return False
    at = int(rng.integers(len(entries)))
    if scalar and kind <= 2:
        entries[at] = _value(field, entries[at], rng)
    elif kind == 3:
        del entries[at]
    else:
        entries.append(entries[at])
    return True


def _value(field: Any, old: Any, rng: Rng) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return pick(rng, TEXTS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        held = old or b""
        return pick(rng, (b"", held[:-1], held + b"\0", held[: len(held) // 2], rng.bytes(len(held)), b"\xff" * 16))
    if field.type not in INTEGER_TYPES:
        return pick(rng, FLOATS)
    near = [old + 1, old - 1, old * 2] if isinstance(old, int) else [1]
    value = int(pick(rng, near)) if rng.random() < 0.4 else pick(rng, INTEGERS)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return pick(rng, [entry.number for entry in field.enum_type.values])
    if field.type == FieldDescriptor.TYPE_UINT64:
        return value % (1 << 64)
    return max(-(1 << 31), min(value, (1 << 31) - 1)) if field.type == FieldDescriptor.TYPE_INT32 else _int64(value)


def _int64(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
