"""JSON files that tell when a byte of them has changed: a field `crc` holds the CRC-32 of all others."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from chanc.errors import RunError
from chanc.files import Json, atomic_write_json

KEY = "crc"


def seal(fields: Mapping[str, Json]) -> dict[str, Json]:
    """The object with its checksum, in the place of one that it has."""
    bare = {name: value for name, value in fields.items() if name != KEY}
    return {**bare, KEY: _crc(bare)}


def unseal(found: Json) -> dict[str, Json]:
    """The object without its checksum. Raises ValueError where that is another one."""
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    fields = {name: value for name, value in found.items() if name != KEY}
    if found.get(KEY) != _crc(fields):
        raise ValueError("its checksum is another one")
    return fields


def write_sealed(path: Path, fields: Mapping[str, Json]) -> None:
    """Write an object with its checksum, whole or not at all. Raises OSError."""
    atomic_write_json(path, seal(fields))


def read_sealed(path: Path) -> dict[str, Json] | None:
    """An object that `write_sealed` wrote, None where there is no file. Raises RunError where it is damaged."""
    found = read_json(path)
    try:
        return None if found is None else unseal(found)
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}") from None


def read_json(path: Path) -> Json:
    """The content of a JSON file, None where there is none. Raises RunError where it is damaged."""
    try:
        content: Json = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):
        raise RunError(f"{path} is damaged: it is not JSON") from None
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror}") from None
    return content


def _crc(fields: Mapping[str, Json]) -> str:
    return f"{zlib.crc32(json.dumps(fields, sort_keys=True).encode()):08x}"
