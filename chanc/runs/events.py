"""What happens in a run: one frozen dataclass a kind of event, one line of events.jsonl an event.

    {"v": 3, "seq": 7, "kind": "trial", "id": 3, ..., "file": "trials/003/model.onnx", "sha256": "...", "crc": "..."}

An event says what was decided and what came out, never when: two runs with the same settings have the same lines. The
files that belong to an event are written before it, and their checksums stand in the line. `seq` counts from 0 without
gaps; `crc` is the CRC-32 of the line before it. Fields at their default are left out.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, ClassVar, TypeAlias

from chanc.files import plain
from chanc.runs.decode import decode

VERSION = 3

State = dict[str, Any]
"""What a method remembers: a JSON object whose fields are the method's own business."""

Metrics = Mapping[str, Mapping[str, float]]
"""By layer or by name of the metric, then by name of the figure or of the channel group."""


@dataclass(frozen=True)
class Decision:
    """What a method decides of a network: widths (channels) and kept channels by group, kept units by edge and group.

    edges: by "<node's first output>:<input>", for a weight that doesn't read all channels of its groups.
    """

    widths: Mapping[str, int] = field(default_factory=dict)
    keep: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    edges: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """What a method asks to be trained.

    epochs: how many, None as the run's settings say. parent: the trial that it goes on from. transfer: how weights
    follow, None as the settings say; "init" draws them anew.
    """

    id: int
    decision: Decision
    epochs: int | None = None
    parent: int | None = None
    transfer: str | None = None


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training, from 0: training loss, score on the held-out part, learning rate, metrics by layer.

    The score is NaN where an epoch wasn't judged.
    """

    epoch: int
    loss: float
    score: float
    lr: float = math.nan
    metrics: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Best:
    """The decision that a method would end with now, and the trial that trained it (None: no trial did)."""

    decision: Decision
    trial: int | None = None


@dataclass(frozen=True)
class StartEvent:
    """The search begins. id: the method's name; file: the model that it starts from."""

    kind: ClassVar[str] = "start"

    id: str
    file: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class TrialEvent:
    """A trial was trained and measured on the held-out part; file: its model.

    metrics: figures of the channel groups, by name and group. beside: the SHA-256 of other files that later trials go
    by, by their path in the run.
    """

    kind: ClassVar[str] = "trial"

    id: int
    decision: Decision
    params: int
    macs: int
    score: float
    loss: float
    epochs: tuple[Epoch, ...] = ()
    metrics: Metrics = field(default_factory=dict)
    file: str = ""
    sha256: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorEvent:
    """A trial came to nothing: its training failed, or (skipped) its decision can't be realised."""

    kind: ClassVar[str] = "error"

    id: int
    decision: Decision
    reason: str
    skipped: bool = False


@dataclass(frozen=True)
class EpochEvent:
    """An epoch of a method that trains one network throughout; state and file say how it goes on from here."""

    kind: ClassVar[str] = "epoch"

    id: int
    loss: float
    score: float
    metrics: Metrics = field(default_factory=dict)
    state: State = field(default_factory=dict)
    file: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class StateEvent:
    """Where a method stands: all that it remembers, the trials that it asks for, and the best decision so far.

    figures: by trial, what the method made of its measurements and is worth a plot. file: the model that realises the
    best decision, where the method made one itself.
    """

    kind: ClassVar[str] = "state"

    state: State
    asked: tuple[Trial, ...] = ()
    best: Best | None = None
    figures: Mapping[str, Metrics] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class FinalEvent:
    """A final training of one of the rivals, scored on the test set; id is NAME-TURN, file its model."""

    kind: ClassVar[str] = "final"

    id: str
    decision: Decision
    recipe: Mapping[str, Any]
    seed: int
    params: int
    macs: int
    score: float
    loss: float
    epochs: tuple[Epoch, ...] = ()
    file: str = ""
    sha256: str = ""

    @property
    def name(self) -> str:
        """Which rival it is."""
        return self.id.rpartition("-")[0]

    @property
    def turn(self) -> int:
        """Which training of that rival, from 0."""
        word = self.id.rpartition("-")[2]
        return int(word) if word.isdecimal() else 0


@dataclass(frozen=True)
class StepEvent:
    """A step of a pruning is done; ids count from 0, file is the model that came of it.

    before, widths: channels by group, or where edges went inputs by weight. scores: what the model was worth at each
    stage of the step. left: groups that were left alone, with the reason.
    """

    kind: ClassVar[str] = "step"

    id: int
    before: Mapping[str, int]
    widths: Mapping[str, int]
    params: int
    macs: int
    scores: Mapping[str, float] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class VoidEvent:
    """Earlier events, named by their seq, count no more."""

    kind: ClassVar[str] = "void"

    cancels: tuple[int, ...]


Event: TypeAlias = StartEvent | TrialEvent | ErrorEvent | EpochEvent | StateEvent | FinalEvent | StepEvent | VoidEvent
Filed: TypeAlias = StartEvent | TrialEvent | EpochEvent | StateEvent | FinalEvent | StepEvent
"""The kinds that a file may belong to."""

KINDS: dict[str, type[Event]] = {
    one.kind: one
    for one in (StartEvent, TrialEvent, ErrorEvent, EpochEvent, StateEvent, FinalEvent, StepEvent, VoidEvent)
}


def files_of(event: Event) -> dict[str, str]:
    """The files that belong to an event, by their path in the run, and their SHA-256."""
    own = {event.file: event.sha256} if isinstance(event, Filed) and event.file else {}
    return own | dict(event.beside) if isinstance(event, TrialEvent) else own


def to_line(event: Event, seq: int) -> str:
    """The line of an event, with its newline."""
    fields = plain(event)
    assert isinstance(fields, dict)
    head = json.dumps({"v": VERSION, "seq": seq, "kind": event.kind, **fields}, ensure_ascii=False, allow_nan=False)
    return f'{head[:-1]}, "crc": "{_checksum(head[:-1])}"}}\n'


def from_line(line: str, seq: int) -> Event:
    """The event of a line that is the seq-th; raises ValueError that says what is wrong with it."""
    number, event = numbered(line)
    if number != seq:
        raise ValueError(f"its seq is {number} where {seq} comes next")
    return event


def numbered(line: str) -> tuple[int, Event]:
    """The seq of a line and its event; raises ValueError that says what is wrong with it."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    head, _, _ = line.rpartition(', "crc": ')
    if not isinstance(fields, dict) or fields.pop("crc", None) != _checksum(head):
        raise ValueError("its checksum is another one")
    version, number, kind = (fields.pop(name, None) for name in ("v", "seq", "kind"))
    if version != VERSION:
        raise ValueError(f"it is of version {version}, this chanc reads {VERSION}")
    if type(number) is not int or number < 0:
        raise ValueError(f"its seq is {number}, which is no count")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"there is no event {kind!r}")
    event = decode(KINDS[kind], fields)
    _check(event)
    return number, event


def _check(event: Event) -> None:
    """Raise ValueError for what no run has: a network without channels, a file outside the run."""
    if isinstance(event, TrialEvent | FinalEvent | StepEvent):
        widths = event.widths if isinstance(event, StepEvent) else event.decision.widths
        for group, width in widths.items():
            if width < 1:
                raise ValueError(f"group {group!r} has {width} channels")
    for file in files_of(event):
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"its file {file!r} lies outside the run")


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode(errors='replace')):08x}"
