"""The run directory: everything a run leaves on disk, written so that a kill at any moment costs one training at most.

    config.json      the settings that decide the outcome, what it ran with (versions, threads, CPU, precision), and the
                     arguments that were asked for, with which it goes on
    events.jsonl     what happened, append-only, each line flushed to the disk (`chanc.runs.events`)
    timing.jsonl     wall-clock seconds, apart, so that the events of two runs compare
    trials/NNN/      model.onnx: the trial's trained model; optimizer.json: learning rates that the next takes over;
                     evidence.npz: what images show of its units
    final/NAME-TURN/ the final trainings: where a killed one goes on, and model.onnx
    input.onnx, best.onnx, model.py, model.safetensors, comparison.json, report.html
    made.json        checksums of what was handed over in the end

An event counts once its line is complete; its file is written before. All that decides what comes next has a checksum:
config.json, times and made.json their own, other files in the line of their event.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chanc.errors import RunError
from chanc.files import Json, atomic_write_json, checksum, plain, remove_leftovers
from chanc.runs.environment import changes
from chanc.runs.events import VERSION, Event, Filed, TrialEvent, from_line, to_line
from chanc.runs.record import (
    CONFIG,
    LOG,
    TIMING,
    Record,
    Timing,
    check_files,
    read_config,
    read_log,
    read_run,
)
from chanc.runs.seal import seal, write_sealed

MADE = "made.json"
"""The checksums of what a search handed over in the end."""


@dataclass(frozen=True)
class RunDir:
    """A run directory to write to; `log` holds all events so far."""

    path: Path
    log: list[Event] = field(default_factory=list)

    @property
    def record(self) -> Record:
        """The run as its events tell it so far, without settings and times."""
        return Record(self.path, {}, {}, tuple(self.log))

    def append(self, event: Event) -> None:
        """Add an event, with the checksum of its file, and make sure that it is on the disk before this returns."""
        with clear_errors(self.path):
            event = self._with_checksums(event)
        line = to_line(event, len(self.log))
        _append(self.path / LOG, line)
        self.log.append(from_line(line.removesuffix("\n"), len(self.log)))  # what a resumed search will see

    def append_timing(self, timing: Timing) -> None:
        """Add wall-clock times."""
        fields = plain(timing)
        assert isinstance(fields, dict)
        _append(self.path / TIMING, json.dumps(seal(fields), ensure_ascii=False) + "\n")

    def _with_checksums(self, event: Event) -> Event:
        if isinstance(event, Filed) and event.file:
            event = dataclasses.replace(event, sha256=checksum(self.path / event.file))
        if isinstance(event, TrialEvent):
            event = dataclasses.replace(event, beside={name: checksum(self.path / name) for name in event.beside})
        return event

    def write(self, name: str, value: object) -> None:
        """Write a JSON file of the run, whole or not at all."""
        with clear_errors(self.path):
            atomic_write_json(self.path / name, plain(value))

    @contextlib.contextmanager
    def vouched(self, names: Iterable[str]) -> Iterator[None]:
        """While the block runs, nothing vouches for these files of the run; afterwards their checksums are kept."""
        with clear_errors(self.path):
            (self.path / MADE).unlink(missing_ok=True)
        yield
        with clear_errors(self.path):
            there = [name for name in names if (self.path / name).is_file()]
            write_sealed(self.path / MADE, {name: checksum(self.path / name) for name in there})

    def folder(self, name: str) -> Path:
        """A folder of the run, made where it is missing."""
        with clear_errors(self.path):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        return self.path / name

    def model_path(self, trial: int) -> Path:
        """Where the trained model of one trial lies."""
        return self.path / "trials" / f"{trial:03d}" / "model.onnx"

    def evidence_path(self, trial: int) -> Path:
        """Where the evidence of one trial lies, in a run whose method asks for it."""
        return self.path / "trials" / f"{trial:03d}" / "evidence.npz"

    def optimizer_path(self, trial: int) -> Path:
        """Where the optimizer's state after one trial lies, in a run that carries it on."""
        return self.path / "trials" / f"{trial:03d}" / "optimizer.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second process out, and remove what killed ones left half written.

        Raises RunError where another process is at work in this directory.
        """
        with clear_errors(self.path):
            handle = open(self.path / ".lock", "a")  # noqa: SIM115  (closed below, with the lock)
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunError(f"{self.path}: another search is at work in this run directory") from None
            remove_leftovers(self.path, below=True)
            yield

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """As `locked`, for a process that goes on with `log`.

        Raises RunError also where another process has gone on with the run since it was read.
        """
        with self.locked():
            if len(read_log(self.path).events) != len(self.log):
                raise RunError(f"{self.path}: another search has gone on with this run meanwhile; --resume it again")
            yield


def create(
    path: str | os.PathLike[str],
    settings: Mapping[str, object],
    environment: Mapping[str, object],
    files: Mapping[str, Callable[[Path], None]] | None = None,
    asked: Mapping[str, object] | None = None,
) -> RunDir:
    """Make a new run directory, with further files by name, each written by a function of its path.

    Raises RunError where it holds a run already, or can't be written; then nothing is left of the attempt.
    """
    folder = Path(path)
    refuse_taken(folder)
    there = folder.exists()
    config = {"format": VERSION, "settings": plain(settings), "environment": plain(environment),
              "asked": plain(asked or {})}  # fmt: skip
    with clear_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, write in (files or {}).items():
                write(folder / name)
            write_sealed(folder / CONFIG, config)  # the last one: it is what makes a folder a run
        except OSError:
            _remove([*(files or {}), CONFIG], folder, itself=not there)
            raise
    return RunDir(folder)


def refuse_taken(folder: Path) -> None:
    """Raise RunError where a folder holds a run already."""
    if any((folder / name).exists() for name in (CONFIG, LOG, "trials.jsonl")):
        raise RunError(f"{folder} holds a run already: add --resume to go on with it, or choose another --out")


def refuse_empty(folder: Path) -> None:
    """Raise RunError where a folder holds no run that can go on."""
    if not any((folder / name).exists() for name in (CONFIG, "trials.jsonl")):
        raise RunError(f"{folder} holds no run to resume: its {CONFIG} is missing")
    read_config(folder)


def resume(
    path: str | os.PathLike[str],
    settings: Mapping[str, object],
    asked: Mapping[str, object] | None = None,
    environment: Mapping[str, object] | None = None,
) -> RunDir:
    """Open an existing run, and cut off what a kill left of a last line.

    More trials than before lengthen a run. The record keeps what it goes on with: settings, `asked` where given, and in
    what the environment differs from the one that it was begun with, from which event on.

    Raises RunError where there is none, where another process is at work in it, where a line or a file is damaged, or
    where it was made with other settings: the message names the first difference.
    """
    folder = Path(path)
    refuse_empty(folder)
    config = read_config(folder)
    refuse_others(folder, config, settings)
    after = {**config, "settings": plain(settings), **({"asked": plain(asked)} if asked is not None else {})}
    with RunDir(folder).locked():  # a half line may be one that another process is writing just now
        for name in (LOG, TIMING):
            _cut_torn_line(folder / name)
        record = read_run(folder)
        check_files(record)
        if environment is not None:
            after["environment"] = _gone_on(record, environment)
        if after != config:
            with clear_errors(folder):
                write_sealed(folder / CONFIG, after)
    return RunDir(folder, list(record.log))


def _gone_on(record: Record, environment: Mapping[str, object]) -> dict[str, Json]:
    """The environment of a run with an entry in its "resumed", where the one of now is another than the last."""
    known = record.environment.get("resumed")
    before = known if isinstance(known, list) else []
    differs, last = changes(record.environment, environment), before[-1] if before else {"differs": {}}
    if isinstance(last, dict) and last.get("differs") == differs:
        return dict(record.environment)
    return {**record.environment, "resumed": [*before, {"at": len(record.log), "differs": differs}]}


def refuse_others(folder: Path, config: Mapping[str, Json], settings: Mapping[str, object]) -> None:
    """Raise RunError for other settings than a run's config.json has; more trials than before are none."""
    before, now = config.get("settings", {}), plain(settings)
    trials, more = (part.get("trials") if isinstance(part, dict) else None for part in (before, now))
    if isinstance(before, dict) and isinstance(trials, int) and isinstance(more, int):
        if more < trials:
            raise RunError(f"{folder} was made with {trials} trials: it can have more of them, not {more}")
        before = {**before, "trials": more}
    difference = first_difference(before, now)
    if difference is not None:
        name, was, is_now = difference
        raise RunError(f"{folder} was made with other settings: {name} was {was}, now it is {is_now}")


def first_difference(before: Json, now: Json, name: str = "") -> tuple[str, str, str] | None:
    """The first setting, in reading order, in which two JSON values differ: its dotted name and both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            where = f"{name}.{key}" if name else key
            found = first_difference(before.get(key), now.get(key), where)
            if found is not None:
                return found
        return None
    return None if before == now else (name, json.dumps(before), json.dumps(now))


@contextlib.contextmanager
def clear_errors(folder: Path) -> Iterator[None]:
    """Turn an OSError into one clear line about the run directory."""
    try:
        yield
    except OSError as error:
        raise RunError(f"the run directory {folder} can't be written: {error.strerror or error}") from error


def _append(path: Path, line: str) -> None:
    """Append a line and flush it to the disk; raises RunError where the disk takes no more."""
    with clear_errors(path.parent), open(path, "ab", buffering=0) as handle:
        data = line.encode()
        written = handle.write(data)
        if written != len(data):  # a disk that fills up takes a part first; the next write says why
            handle.write(data[written:])
        os.fsync(handle.fileno())


def _cut_torn_line(path: Path) -> None:
    if path.exists():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            with clear_errors(path.parent):
                os.truncate(path, whole)


def _remove(names: Iterable[str], folder: Path, *, itself: bool) -> None:
    """Take back what `create` wrote before it failed."""
    with contextlib.suppress(OSError):
        for name in names:
            (folder / name).unlink(missing_ok=True)
        if itself:
            folder.rmdir()
