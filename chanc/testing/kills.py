"""Killing a piece of work at its N-th operation on the disk, and filling the disk under it.

    for number in kills(work, folder, at): ...

Work is done in a child that is forked for it, so that a kill is a kill: nothing is unwound, no handler runs. What
counts as an operation is what changes a disk: opening a file for writing, each write to it (of which a killed one does
the first half), syncing, renaming, removing, truncating, making a folder.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KILLED = 137
"""The exit code of a killed child."""

CALLS = ("fsync", "replace", "rename", "unlink", "remove", "truncate", "mkdir", "chmod")
"""Functions of `os` that change a disk."""

Work = Callable[[Path], object]


@dataclass
class Disk:
    """What is counted. kill_at: the operation, from 1, at which the process ends; room: bytes that may be written."""

    kill_at: int | None = None
    room: int | None = None
    done: int = 0

    def step(self) -> bool:
        """Count an operation; whether it is the one to be killed at."""
        self.done += 1
        return self.done == self.kill_at

    def before(self) -> None:
        """Count an operation that happens whole or not at all."""
        if self.step():
            os._exit(KILLED)

    def fits(self, size: int) -> int:
        """So many of the bytes are written."""
        if self.room is None:
            return size
        written = min(size, self.room)
        self.room -= written
        return written


class _File:
    """A file that is written to, operation by operation."""

    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: Any) -> int:
        """Write a part where the process is killed or the disk is full."""
        size = len(data)
        if self._disk.step():
            self._file.write(data[: size // 2])
            self._file.flush()
            os._exit(KILLED)
        fits = self._disk.fits(size)
        written: int = self._file.write(data[:fits])
        if fits < size:
            self._file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written

    def writelines(self, lines: Iterable[Any]) -> None:
        """As `write`, line by line."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        self._file.__enter__()
        return self

    def __exit__(self, *about: Any) -> None:
        self._file.__exit__(*about)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)


def watch(disk: Disk) -> None:
    """Count what this process does from now on, for good: meant for a child that ends after its work."""
    for name in CALLS:
        setattr(os, name, _counted(getattr(os, name), disk))
    plain_open, plain_os_open = builtins.open, os.open

    def opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
        if not set(mode) & set("wax+"):
            return plain_open(file, mode, *more, **named)
        disk.before()
        return _File(plain_open(file, mode, *more, **named), disk)

    def os_opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            disk.before()
        return plain_os_open(path, flags, *more, **named)

    builtins.open = io.open = opened
    os.open = os_opened


def _counted(call: Callable[..., Any], disk: Disk) -> Callable[..., Any]:
    def counted(*args: Any, **named: Any) -> Any:
        disk.before()
        return call(*args, **named)

    return counted


def child(work: Work, folder: Path, disk: Disk | None = None) -> int:
    """Do the work in a forked child; its exit code: 0 done, `KILLED`, 1 for a ChancError, 2 for any other error."""
    number = os.fork()
    if number:
        return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    code = 2
    try:
        from chanc.errors import ChancError

        if disk is not None:
            watch(disk)
        try:
            work(folder)
            code = 0
        except (ChancError, OSError):
            code = 1
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def operations(work: Work, folder: Path) -> int:
    """How many operations the work takes, from first to last."""
    place = folder / "operations"

    def counting(target: Path) -> None:
        disk = Disk()
        plain_open = builtins.open
        watch(disk)
        work(target)
        with plain_open(place, "w") as file:
            file.write(str(disk.done))

    if code := child(counting, folder / "counted"):
        raise RuntimeError(f"the work ends with exit code {code} where nothing stops it")
    return int(place.read_text())


def kills(work: Work, folder: Path, at: Iterable[int]) -> Iterator[tuple[int, Path]]:
    """Kill the work at each of these operations, do it again in the same place, and yield the number and the place.

    Raises RuntimeError where the first child isn't killed, or where the second one doesn't come to its end.
    """
    for number in at:
        place = folder / f"kill-{number}"
        codes = child(work, place, Disk(kill_at=number)), child(work, place)
        if codes != (KILLED, 0):
            raise RuntimeError(f"killed at operation {number}, the work ends with exit codes {codes}")
        yield number, place


def contents(folder: Path, *, but: Iterable[str] = ()) -> dict[str, bytes]:
    """Every file below a folder by its path, empty locks apart; `but`: names of files whose content holds a clock."""
    return {
        path.relative_to(folder).as_posix(): b"" if path.name in but else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
