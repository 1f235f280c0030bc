"""Reading a run directory: everything that chanc knows of a run, in one typed object.

A run directory that is being written may be read: the last line, where it is only half there, is left out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from chanc.errors import RunError
from chanc.files import Json
from chanc.runs.decode import decode
from chanc.runs.events import (
    VERSION,
    Best,
    ErrorEvent,
    Event,
    Filed,
    FinalEvent,
    StateEvent,
    TrialEvent,
    VoidEvent,
    from_line,
)

LOG, TIMING, CONFIG, INPUT = "events.jsonl", "timing.jsonl", "config.json", "input.onnx"
E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Timing:
    """Seconds of wall-clock time by what they were spent on; `id` names a trial, a rival, a part of the search.

    latency_s: seconds of one input through the model, where it was measured. peak_bytes: of memory, likewise.
    """

    id: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    latency_s: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Record:
    """A run as it lies on disk.

    settings decide what comes out, environment is what it ran with, asked are the arguments that the search was called
    with; log holds every event, by its seq.
    """

    path: Path
    settings: Mapping[str, Json]
    environment: Mapping[str, Json]
    log: tuple[Event, ...] = ()
    timing: tuple[Timing, ...] = ()
    asked: Mapping[str, Json] = field(default_factory=dict)

    @property
    def live(self) -> dict[int, Event]:
        """The events that count, by seq: those that no other one cancels."""
        void = {seq for event in self.log if isinstance(event, VoidEvent) for seq in event.cancels}
        return {seq: event for seq, event in enumerate(self.log)
                if seq not in void and not isinstance(event, VoidEvent)}  # fmt: skip

    @property
    def events(self) -> tuple[Event, ...]:
        """The events that count, in order."""
        return tuple(self.live.values())

    @property
    def outcomes(self) -> tuple[TrialEvent | ErrorEvent, ...]:
        """What came of each trial that has ended."""
        return tuple(event for event in self.events if isinstance(event, TrialEvent | ErrorEvent))

    @property
    def trials(self) -> tuple[TrialEvent, ...]:
        """The trials that were trained and measured."""
        return self.of(TrialEvent)

    @property
    def finals(self) -> tuple[FinalEvent, ...]:
        """The final trainings."""
        return self.of(FinalEvent)

    def of(self, kind: type[E]) -> tuple[E, ...]:
        """The events of one kind."""
        return tuple(event for event in self.events if isinstance(event, kind))

    def latency(self, name: str) -> float | None:
        """Seconds of one input through a rival's model, as measured last."""
        known = [line.latency_s for line in self.timing if line.id == name and line.latency_s is not None]
        return known[-1] if known else None


def best(record: Record) -> Best | None:
    """What the run has found so far; None before a method had an answer."""
    states = record.of(StateEvent)
    return states[-1].best if states else None


def read_run(path: str | os.PathLike[str]) -> Record:
    """Read a run directory. Raises RunError where it is none, where an older chanc made it, or for a damaged line."""
    folder = Path(path)
    config = read_config(folder)
    return Record(folder, _part(config, "settings"), _part(config, "environment"),
                  tuple(read_events(folder)), tuple(read_timing(folder)), _part(config, "asked"))  # fmt: skip


def read_config(folder: Path) -> dict[str, Json]:
    """The content of config.json. Raises RunError as `read_run`."""
    if not folder.is_dir():
        raise RunError(f"{folder} is not a run directory: {'a file' if folder.exists() else 'it does not exist'}")
    config = read_json(folder / CONFIG)
    if (folder / "trials.jsonl").exists() or (isinstance(config, dict) and config.get("format") == 1):
        raise RunError(f"{folder} was made by an older chanc: its trials can't be read or gone on with")
    if config is None:
        raise RunError(f"{folder} is not a run directory: it holds no {CONFIG}")
    if not isinstance(config, dict) or config.get("format") != VERSION:
        raise RunError(f"{folder / CONFIG} is damaged: it is not of format {VERSION}")
    return config


def read_events(folder: Path) -> list[Event]:
    """All events of a run's log, cancelled ones too. Raises RunError that names the line which is damaged."""
    path = folder / LOG
    events: list[Event] = []
    for line in whole_lines(path):
        try:
            events.append(from_line(line, len(events)))
        except ValueError as error:
            raise RunError(f"{path} is damaged: line {len(events) + 1}: {error}") from None
    return events


def read_timing(folder: Path) -> list[Timing]:
    """The wall-clock times of a run. Raises RunError that names the line which is damaged."""
    path = folder / TIMING
    found: list[Timing] = []
    for line in whole_lines(path):
        try:
            found.append(decode(Timing, json.loads(line)))
        except ValueError as error:
            raise RunError(f"{path} is damaged: line {len(found) + 1}: {error}") from None
    return found


def whole_lines(path: Path) -> list[str]:
    """The lines of a file; a last one without its newline is left out. No file has no lines."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror}") from None
    return data[: data.rfind(b"\n") + 1].decode(errors="replace").split("\n")[:-1]


def check_files(record: Record) -> None:
    """Raise RunError where a file is not the one that its event was written with.

    A file that is gone is no damage: whoever needs it will say so.
    """
    for seq, event in record.live.items():
        if not isinstance(event, Filed) or not event.file:
            continue
        path = record.path / event.file
        if path.is_file() and checksum(path) != event.sha256:
            raise RunError(f"{path} is damaged: its checksum is not that of line {seq + 1} of {LOG}")


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_json(path: Path) -> Json:
    """The content of a JSON file, None where there is none. Raises RunError where it is damaged."""
    try:
        content: Json = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        raise RunError(f"{path} is damaged: it is not JSON") from None
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror}") from None
    return content


def _part(config: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}
