"""Writing files so that a reader sees the old file or the new one, never a part; and reading files only.

Content goes to a temporary name in the target's own folder, is flushed to the disk, and takes the target's name by
`os.replace`. Whatever stops the writer (a full disk, an interrupt) leaves the old file and no rubbish; what a killed
one leaves is removed by the next one that writes into the folder. A lock tells the two apart: the kernel lets go of it
when a writer dies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import functools
import hashlib
import json
import math
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""A value as `json.loads` gives it."""

PREFIX = ".chanc-"
"""How temporary names begin."""

_PIECE = 1 << 24
"""Bytes that are hashed at once: a thread that hashes asks for the interpreter only between two of them."""
_LEAF = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_name = functools.lru_cache(maxsize=1024)(encode_basestring)  # those of fields come again and again
_PLAIN: dict[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: str,
    bool: {False: "false", True: "true"}.__getitem__,
}
"""How most values are written that are no lists or objects; the others as `_LEAF` does."""


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty temporary file in the folder of `path`; on a clean exit it replaces `path`.

    The temporary name keeps the suffix of `path`, because writers choose a format by it. A symbolic link is followed,
    so it stays a link; an existing file's permissions are kept.

    Raises:
        OSError: the folder is missing or not writable, the disk is full, or `path` is not a regular file; `filename`
            is always `path`, never the temporary name.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = _mode_of(target)
        remove_leftovers(target.parent)
        temporary, held = _reserve(target)
        try:
            if mode is None:
                mode = stat.S_IMODE(os.fstat(held).st_mode)
            os.fchmod(held, mode)
            yield temporary
            # A writer may have put a file of its own there: safetensors does, and nobody else could read that.
            os.chmod(temporary, mode)
            _flush(temporary)
            os.replace(temporary, target)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
            os.close(held)
    except OSError as error:
        name = os.path.basename(str(error.filename or PREFIX))
        if (name.startswith(PREFIX) or error.filename == os.fspath(target)) and error.errno is not None:
            error.filename, error.filename2 = os.fspath(path), None
        raise
    _flush_folder(target.parent)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 with its newlines untouched. Raises: OSError, as `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def atomic_write_json(path: str | os.PathLike[str], value: Any, *, sort_keys: bool = False) -> None:
    """Write `value` as indented JSON with a last newline; NaN and infinity are refused, as JSON has neither.

    Raises: OSError, as `atomic_write`; TypeError or ValueError for what JSON can't hold, before any file is touched.
    """
    atomic_write_text(path, json_text(value, sort_keys=sort_keys))


def json_text(value: Any, *, sort_keys: bool = False) -> str:
    """What `atomic_write_json` writes. Raises: TypeError or ValueError, as that."""
    pieces: list[str] = []
    _indented(value, "\n", sort_keys, {}, pieces.append)
    return f"{''.join(pieces)}\n"


def _indented(
    value: Any, line: str, sort_keys: bool, known: dict[tuple[int, str], str], put: Callable[[str], None]
) -> None:
    """Put the pieces of what `json.dumps(value, indent=2)` gives, `line` being the break before a closing bracket.

    That takes a step of Python for each number, and a trace has a million of them: here a list of integers is one, and
    one that stands at several places is written once (`known`: by its identity and its depth).
    """
    deeper = line + "  "
    if isinstance(value, dict) and value:
        begin = f"{{{deeper}"
        for key, entry in sorted(value.items()) if sort_keys else value.items():
            plain = _PLAIN.get(type(entry))
            if plain is not None:
                put(f"{begin}{_key(key)}: {plain(entry)}")
            else:
                put(f"{begin}{_key(key)}: ")
                _indented(entry, deeper, sort_keys, known, put)
            begin = f",{deeper}"
        put(f"{line}}}")
    elif isinstance(value, (list, tuple)) and value:
        place = (id(value), line)
        if place not in known and set(map(type, value)) == {int}:
            known[place] = f"[{deeper}{str(list(value))[1:-1].replace(', ', f',{deeper}')}{line}]"
        if place in known:
            put(known[place])
            return
        begin = f"[{deeper}"
        for entry in value:
            put(begin)
            _indented(entry, deeper, sort_keys, known, put)
            begin = f",{deeper}"
        put(f"{line}]")
    else:
        plain = _PLAIN.get(type(value), _LEAF.encode)
        put(plain(value))


def _key(key: object) -> str:
    if isinstance(key, str):
        return _name(key)
    if key is not None and not isinstance(key, (int, float)):
        raise TypeError(f"JSON's objects have no {type(key).__name__} as a key")
    return f'"{_LEAF.encode(key)}"'


def checksum(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file. Raises: OSError, as `open_regular`."""
    digest = hashlib.sha256()
    with open_regular(path) as handle:
        while piece := handle.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def open_regular(path: str | os.PathLike[str], *, links: bool = True) -> BinaryIO:
    """Open a regular file for reading: a pipe or a device is refused at once, where `open` would wait for a writer.

    links: whether the last part of `path` may be a symbolic link.

    Raises:
        OSError: it can't be opened or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW))
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def leftovers(folder: Path, *, below: bool = False) -> list[Path]:
    """The temporary files of killed writers in a folder, or also in all folders below it."""
    return [path for path in _temporaries(folder, below) if _if_dead(path, lambda _: None)]


def remove_leftovers(folder: Path, *, below: bool = False) -> None:
    """Delete the temporary files of killed writers in a folder, or also in all folders below it."""
    for path in _temporaries(folder, below):
        _if_dead(path, os.unlink)


def plain(value: object) -> Json:
    """The same value in JSON's own types.

    Dataclasses become objects without the fields that are at their default, tuples lists, paths and NumPy numbers plain
    ones; NaN and infinity, which JSON lacks, become their names ("nan", "inf", "-inf"). Raises TypeError for the rest.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(given) for field in dataclasses.fields(value)
                if (given := getattr(value, field.name)) != _default(field)}  # fmt: skip
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    number: object = value.item() if hasattr(value, "item") else value
    if isinstance(number, float) and not math.isfinite(number):
        return str(number)
    if number is None or isinstance(number, bool | int | float | str):
        return number
    raise TypeError(f"{type(value).__name__} is nothing that JSON can hold")


def _default(field: dataclasses.Field[object]) -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _reserve(target: Path) -> tuple[Path, int]:
    """An empty temporary file beside `target`, and the descriptor that holds its lock: its writer lives."""
    while True:
        temporary = target.with_name(f"{PREFIX}{secrets.token_hex(8)}{target.suffix[:32]}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks: nothing is removed there either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, descriptor
        os.close(descriptor)  # another process took it for a leftover before the lock was held


def _temporaries(folder: Path, below: bool) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in sorted(names) if name.startswith(PREFIX))
        if not below:
            return


def _if_dead(temporary: Path, act: Callable[[Path], None]) -> bool:
    """Whether nobody holds the lock of a temporary file; then `act` is done while we hold it."""
    try:
        descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        act(temporary)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _mode_of(target: Path) -> int | None:
    """Permission bits of an existing regular file, None where there is no file yet."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    # A rename would replace a device or a pipe, /dev/null for one, by a plain file.
    _require_regular(mode, target)
    return stat.S_IMODE(mode)


def _require_regular(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself last; file systems that can't sync a folder are left alone."""
    with contextlib.suppress(OSError):
        _flush(folder)
