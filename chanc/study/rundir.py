"""The run directory: everything a search leaves on disk, written so that a kill at any moment costs one trial at most.

    config.json      the settings that decide the outcome, and the versions that ran
    trials.jsonl     one line a trial, append-only, flushed to the disk; no wall-clock times, so that two runs compare
    timing.jsonl     seconds of each trial, by what they were spent on
    trials/NNN/      model.onnx: the trial's trained model; optimizer.json: learning rates that the next takes over
    final/NAME-SEED/ the final trainings: training.safetensors (where a killed one goes on), model.onnx, result.json
    best.json, best.onnx, model.py, model.safetensors, comparison.json, report.html

A trial counts once its line is complete; its files are written before.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chanc.errors import RunError
from chanc.files import atomic_write_json

FORMAT = 1
Json = dict[str, Any]


@dataclass(frozen=True)
class RunDir:
    """A run directory that exists. `path` is the folder."""

    path: Path
    trials: list[Json] = field(default_factory=list)

    def trial_dir(self, trial: int) -> Path:
        """The folder of one trial, made where it is missing."""
        return self.folder(f"trials/{trial:03d}")

    def folder(self, name: str) -> Path:
        """A folder of the run, made where it is missing."""
        with clear_errors(self.path):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        return self.path / name

    def model_path(self, trial: int) -> Path:
        """Where the trained model of one trial lies."""
        return self.path / "trials" / f"{trial:03d}" / "model.onnx"

    def optimizer_path(self, trial: int) -> Path:
        """Where the optimizer's state after one trial lies, in a run that carries it on."""
        return self.path / "trials" / f"{trial:03d}" / "optimizer.json"

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a trial's line, and make sure that it is on the disk before this returns."""
        append_line(self.path / "trials.jsonl", line)
        self.trials.append(json.loads(json.dumps(plain(line))))

    def append_timing(self, line: Mapping[str, Any]) -> None:
        """Add a line of wall-clock times (seconds)."""
        append_line(self.path / "timing.jsonl", line)

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file of the run, whole or not at all."""
        with clear_errors(self.path):
            atomic_write_json(self.path / name, plain(value))

    def read(self, name: str) -> Any:
        """Read a JSON file of the run; None where there is none. Raises RunError where it is damaged."""
        return read_json(self.path / name)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process out. Raises RunError where one is at work in this directory."""
        with clear_errors(self.path):
            handle = open(self.path / ".lock", "a")  # noqa: SIM115  (closed below, with the lock)
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunError(f"{self.path}: another search is at work in this run directory") from None
            yield


def create(
    path: str | os.PathLike[str],
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
    files: Mapping[str, Callable[[Path], None]] | None = None,
) -> RunDir:
    """Make a new run directory, with further files by name, each written by a function of its path.

    Raises RunError where it holds a run already, or can't be written; then nothing is left of the attempt.
    """
    folder = Path(path)
    if (folder / "config.json").exists() or (folder / "trials.jsonl").exists():
        raise RunError(f"{folder} holds a run already: add --resume to go on with it, or choose another --out")
    there = folder.exists()
    config = {"format": FORMAT, "settings": plain(settings), "environment": plain(environment)}
    with clear_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, write in (files or {}).items():
                write(folder / name)
            atomic_write_json(folder / "config.json", config)  # the last one: it is what makes a folder a run
        except OSError:
            _remove([*(files or {}), "config.json"], folder, itself=not there)
            raise
    return RunDir(folder)


def _remove(names: Iterable[str], folder: Path, itself: bool) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    if itself:
        with contextlib.suppress(OSError):
            folder.rmdir()


def resume(path: str | os.PathLike[str], settings: Mapping[str, Any]) -> RunDir:
    """Open a run to go on with it; a torn last line of trials.jsonl is dropped.

    Raises RunError where there is no run, a file is damaged, or the run was made with other settings: the message
    names the first difference.
    """
    folder = Path(path)
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise RunError(f"{folder} holds no run to resume: its config.json is missing or of another format")
    difference = first_difference(config.get("settings", {}), plain(settings))
    if difference is not None:
        name, before, now = difference
        raise RunError(f"{folder} was made with other settings: {name} was {before}, now it is {now}")
    with RunDir(folder).locked():  # a half line may be one that another process is writing just now
        lines = mend_lines(folder / "trials.jsonl")
        mend_lines(folder / "timing.jsonl")
    if [line.get("trial") for line in lines] != list(range(len(lines))):
        raise RunError(f"{folder / 'trials.jsonl'} is damaged: its trials are not 0, 1, 2, ... in order")
    return RunDir(folder, lines)


def first_difference(before: Any, now: Any, name: str = "") -> tuple[str, str, str] | None:
    """The first setting, in reading order, in which two JSON values differ: its dotted name and both values."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in [*before, *(key for key in now if key not in before)]:
            where = f"{name}.{key}" if name else str(key)
            found = first_difference(before.get(key), now.get(key), where)
            if found is not None:
                return found
        return None
    return None if before == now else (name, json.dumps(before), json.dumps(now))


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Append one line of JSON and flush it to the disk; raises RunError where the disk takes no more."""
    text = json.dumps(plain(line), ensure_ascii=False, allow_nan=False) + "\n"
    with clear_errors(path.parent), open(path, "ab", buffering=0) as handle:
        data = text.encode()
        written = handle.write(data)
        if written != len(data):  # a disk that fills up takes a part first; the next write says why
            handle.write(data[written:])
        os.fsync(handle.fileno())


def mend_lines(path: Path) -> list[Json]:
    """Read a file of JSON lines and cut off a last one that a kill left incomplete.

    Raises RunError where any other line is damaged.
    """
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        with clear_errors(path.parent):
            os.truncate(path, whole)
    lines = []
    for number, raw in enumerate(data[:whole].splitlines(), start=1):
        try:
            line = json.loads(raw)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            raise RunError(f"{path} is damaged: line {number} is not a JSON object")
        lines.append(line)
    return lines


def read_json(path: Path) -> Any:
    """The content of a JSON file, None where it is missing; raises RunError where it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:
        raise RunError(f"{path} can't be read: {error}") from None


def plain(value: Any) -> Any:
    """The same value in JSON's own types: tuples become lists, NumPy numbers plain ones, NaN and infinity null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return os.fspath(value) if isinstance(value, os.PathLike) else value


@contextlib.contextmanager
def clear_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError into one clear line about the run directory."""
    try:
        yield
    except OSError as error:
        raise RunError(f"the run directory {folder} can't be written: {error.strerror or error}") from error
