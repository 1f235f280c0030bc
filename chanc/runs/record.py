"""Reading a run directory: everything that chanc knows of a run, in one typed object.

A run directory that is being written may be read: the last line, where it is only half there, is left out.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from chanc.errors import RunError
from chanc.files import Json, checksum
from chanc.runs.decode import decode
from chanc.runs.events import (
    VERSION,
    Best,
    EpochEvent,
    ErrorEvent,
    Event,
    FinalEvent,
    StateEvent,
    StepEvent,
    TrialEvent,
    VoidEvent,
    files_of,
    numbered,
)
from chanc.runs.seal import read_json, unseal

LOG, TIMING, CONFIG, INPUT = "events.jsonl", "timing.jsonl", "config.json", "input.onnx"
E = TypeVar("E", bound=Event)

LOST = VoidEvent(())
"""Stands for a line that can't be read."""

GAP = 10_000
"""So many missing lines in a row may be; a seq further on is damage of its own."""


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
    with; log holds every event, by its seq; where one was lost and given up for it, `LOST`.
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
        """What came of each trial that has ended, by their ids: one that was done again stands where it was."""
        found = (event for event in self.events if isinstance(event, TrialEvent | ErrorEvent))
        return tuple(sorted(found, key=lambda event: event.id))

    @property
    def trials(self) -> tuple[TrialEvent, ...]:
        """The trials that were trained and measured."""
        return tuple(event for event in self.outcomes if isinstance(event, TrialEvent))

    @property
    def finals(self) -> tuple[FinalEvent, ...]:
        """The final trainings, by rival and turn: one that was done again stands where it was."""
        found = self.of(FinalEvent)
        names = list(dict.fromkeys(event.name for event in found))
        return tuple(sorted(found, key=lambda event: (names.index(event.name), event.turn)))

    @property
    def steps(self) -> tuple[StepEvent, ...]:
        """The steps of a pruning, in order: one that was done again stands for those that followed it, too."""
        found: list[StepEvent] = []
        for event in self.of(StepEvent):
            if event.id <= len(found):
                found[event.id :] = [event]
        return tuple(found)

    def of(self, kind: type[E]) -> tuple[E, ...]:
        """The events of one kind."""
        return tuple(event for event in self.events if isinstance(event, kind))

    @property
    def files(self) -> dict[str, tuple[int, str]]:
        """The files that events speak of, by path: the seq of the last event that does, and the SHA-256 there.

        A method that trains throughout goes on from its last epoch: the files of earlier ones count no more.
        """
        live = self.live
        last = max((seq for seq, event in live.items() if isinstance(event, EpochEvent)), default=None)
        return {file: (seq, known) for seq, event in live.items() if seq == last or not isinstance(event, EpochEvent)
                for file, known in files_of(event).items()}  # fmt: skip

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
    if (folder / "trials.jsonl").exists() or (isinstance(config, dict) and config.get("format") in range(1, VERSION)):
        raise RunError(f"{folder} was made by an older chanc: its trials can't be read or gone on with")
    if config is None:
        raise RunError(f"{folder} is not a run directory: it holds no {CONFIG}")
    if not isinstance(config, dict) or config.get("format") != VERSION:
        raise damaged(folder, CONFIG, f"it is not of format {VERSION}")
    try:
        return unseal(config)
    except ValueError as error:
        raise damaged(folder, CONFIG, str(error)) from None


@dataclass(frozen=True)
class Log:
    """events.jsonl as it is read: the events by seq, and by seq what is wrong with a line and not given up for lost."""

    events: tuple[Event, ...]
    damage: Mapping[int, str]


def read_log(folder: Path) -> Log:
    """All events of a run's log, cancelled ones too; what can't be read is `LOST`."""
    events: list[Event] = []
    damage: dict[int, str] = {}
    for line, text in enumerate(whole_lines(folder / LOG), 1):
        try:
            seq, event = numbered(text)
            if seq > len(events) + GAP:
                raise ValueError(f"its seq is {seq} where {len(events)} comes next")
        except ValueError as error:
            damage[len(events)] = f"line {line}: {error}"
            events.append(LOST)
            continue
        if seq < len(events):
            damage[seq] = f"line {line}: its seq is {seq}, which an earlier line has"
            continue
        for missing in range(len(events), seq):
            damage[missing] = f"line {line}: its seq is {seq}, and {missing} is missing before it"
            events.append(LOST)
        events.append(event)
    given_up = {seq for event in events if isinstance(event, VoidEvent) for seq in event.cancels}
    return Log(tuple(events), {seq: why for seq, why in damage.items() if seq not in given_up})


def read_events(folder: Path) -> list[Event]:
    """All events of a run's log, cancelled ones too. Raises RunError that names the line which is damaged."""
    log = read_log(folder)
    for why in log.damage.values():
        raise damaged(folder, LOG, why)
    return list(log.events)


def damaged(folder: Path, what: str, why: str) -> RunError:
    """The error for a file of a run that isn't what it was."""
    return RunError(f"{folder / what} is damaged: {why}; see `chanc fsck {shlex.quote(str(folder))}`")


def read_timing(folder: Path) -> list[Timing]:
    """The wall-clock times of a run. Raises RunError that names the line which is damaged."""
    found: list[Timing] = []
    for line in whole_lines(folder / TIMING):
        try:
            found.append(timing_of(line))
        except ValueError as error:
            raise damaged(folder, TIMING, f"line {len(found) + 1}: {error}") from None
    return found


def timing_of(line: str) -> Timing:
    """What a line of timing.jsonl says; raises ValueError that says what is wrong with it."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    return decode(Timing, unseal(found))


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
    for file, (seq, known) in record.files.items():
        if (record.path / file).is_file() and checksum(record.path / file) != known:
            raise damaged(record.path, file, f"its checksum is not that of line {seq + 1} of {LOG}")


def _part(config: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}
