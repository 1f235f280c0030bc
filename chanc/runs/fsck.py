"""Checking what a search, a training or a sweep left on disk: every line and every file against its checksum.

Mending never edits an event: it appends one `void` that cancels those whose line or file is damaged, and a resumed run
does them again. A damaged checkpoint or time is removed: the training begins anew, the time is unknown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from chanc.errors import ChancError, MissingDependencyError, RunError
from chanc.files import PREFIX, atomic_write_text, checksum, leftovers
from chanc.runs.events import FinalEvent, StartEvent, StateEvent, TrialEvent, VoidEvent, from_line
from chanc.runs.record import (
    CONFIG,
    INPUT,
    LOG,
    TIMING,
    Record,
    read_config,
    read_log,
    timing_of,
    whole_lines,
)
from chanc.runs.rundir import MADE, RunDir, clear_errors
from chanc.runs.seal import read_sealed
from chanc.runs.sweeps import CELL, SWEEP, read_asked, read_cell

T = TypeVar("T")

State = Literal["ok", "damaged", "gone", "orphan", "leftover"]

CHECKPOINT, UNDER_WAY = "training.safetensors", ("asked.json", "outcome.json")
"""Files of a training in a run that no event speaks of yet: where it goes on from, what it is, how it came out."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    what: a file, or a line of one. void: the seqs of the events that a mend cancels; remove: the file that it deletes,
    or takes damaged lines out of. Nothing mends what has neither.
    """

    what: str
    state: State
    why: str = ""
    void: tuple[int, ...] = ()
    remove: Path | None = None

    @property
    def bad(self) -> bool:
        """Whether a run can't be trusted with it."""
        return self.state in ("damaged", "gone")

    @property
    def mendable(self) -> bool:
        """Whether `mend` changes anything."""
        return bool(self.void) or self.remove is not None


def check(path: Path) -> list[Finding]:
    """What there is to say of a run directory, a sweep's folder, or the checkpoint of `chanc train`.

    Raises RunError where it is none of them.
    """
    if path.is_file():
        # A file that somebody names is never removed: it may be anything.
        why = "it is no checkpoint, or not what was written: train again, without --resume and with another name"
        found = replace(_checkpoint(path, path.name), remove=None)
        return [replace(found, why=why) if found.bad else found, *_left(path.parent, below=False)]
    if (path / SWEEP).exists():
        return [*_sweep(path), *_left(path, below=True)]
    if (path / CONFIG).exists() or (path / LOG).exists():
        return [*_run(path), *_left(path, below=True)]
    raise RunError(f"{path} is no run directory, no sweep and no checkpoint"
                   if path.exists() else f"{path} does not exist")  # fmt: skip


def mend(path: Path) -> list[Finding]:
    """Mend what can be, and check again.

    Raises RunError as `check`, and where another process is at work there or nothing can be written.
    """
    for folder in [path, *_cells(path)] if path.is_dir() else []:
        if (folder / CONFIG).exists():
            with RunDir(folder).locked():
                while _mend(folder, list(_run(folder))):
                    pass  # what stood in for an event may be damaged as well
    with clear_errors(path if path.is_dir() else path.parent):
        for finding in check(path):
            if finding.remove is not None and finding.remove.exists():
                finding.remove.unlink()
    return check(path)


def _mend(folder: Path, findings: Sequence[Finding]) -> bool:
    """Void the events of one run, and take its damaged times out. Whether there were any events."""
    cancels = tuple(sorted({seq for one in findings for seq in one.void}))
    if cancels:
        RunDir(folder, list(read_log(folder).events)).append(VoidEvent(cancels))
    times = folder / TIMING
    if any(one.remove == times for one in findings):
        with clear_errors(folder):
            good = [line for line in whole_lines(times) if not _wrong(timing_of, line)]
            atomic_write_text(times, "".join(f"{line}\n" for line in good))
    return bool(cancels)


def _run(folder: Path) -> Iterator[Finding]:
    """Of one run: its settings, its lines, and the files that its events speak of."""
    yield _read(CONFIG, _wrong(read_config, folder))
    log = read_log(folder)
    record = Record(folder, {}, {}, log.events)
    for seq, why in log.damage.items():
        # The lost event may have been a state: the later ones are made again from the trials, without a training.
        later = (number for number, event in record.live.items() if number > seq and isinstance(event, StateEvent))
        yield Finding(f"{LOG} {why.partition(':')[0]}", "damaged", why.partition(": ")[2], void=(seq, *later))
    yield from (Finding(f"{LOG} line {seq + 1}", "ok") for seq in record.live)
    for number, line in enumerate(whole_lines(folder / TIMING), 1):
        why = _wrong(timing_of, line)
        yield _read(f"{TIMING} line {number}", why, folder / TIMING)
    yield from _files(folder, record)
    yield from _made(folder)


def _files(folder: Path, record: Record) -> Iterator[Finding]:
    """The files of a run's events, once each, and those below trials/ and final/ that no event speaks of."""
    known = record.files
    for name, (seq, expected) in known.items():
        event = record.log[seq]
        if (state := _state(folder / name, expected)) == "ok":
            yield Finding(name, "ok")
        elif isinstance(event, StartEvent):
            yield Finding(name, state, f"put the model that the run was begun with back as {INPUT}")
        else:
            yield Finding(name, state, f"{_again(event)} again", void=(seq,))
    below = sorted(one for part in ("trials", "final") for one in (folder / part).rglob("*") if one.is_file())
    for path in below:
        name = path.relative_to(folder).as_posix()
        if path.name == CHECKPOINT:
            yield _checkpoint(path, name)
        elif path.name in UNDER_WAY:
            yield _read(name, _wrong(read_sealed, path), path)
        elif name not in known and path.parent.name != "best" and not path.name.startswith(PREFIX):
            yield Finding(name, "orphan", "no event speaks of it")


def _again(event: object) -> str:
    if isinstance(event, TrialEvent):
        return f"trial {event.id + 1} is trained"
    return f"the final training {event.id} is done" if isinstance(event, FinalEvent) else "the event is made"


def _made(folder: Path) -> Iterator[Finding]:
    """best.onnx and what else a search hands over: a resumed one writes all of it again."""
    path = folder / MADE
    if why := _wrong(read_sealed, path):
        yield Finding(MADE, "damaged", why, remove=path)
        return
    for name, expected in (read_sealed(path) or {}).items():
        state = _state(folder / name, str(expected))
        yield Finding(name, state, "" if state == "ok" else "a resumed search writes it again",
                      remove=None if state == "ok" else path)  # fmt: skip


def _sweep(folder: Path) -> Iterator[Finding]:
    """Of a sweep: what was asked, its cells with their runs, and the final trainings that they share."""
    yield _read(SWEEP, _wrong(read_asked, folder))
    for cell in _cells(folder):
        if (cell / CELL).exists():
            yield _read(f"{cell.name}/{CELL}", _wrong(read_cell, cell), cell / CELL)
        if (cell / CONFIG).exists() or (cell / LOG).exists():
            for one in _run(cell):
                yield replace(one, what=f"{cell.name}/{one.what}")
    for line in sorted(folder.glob("finals/*/final.json")):
        yield _read(line.relative_to(folder).as_posix(), _wrong(_shelved, line), line)


def _shelved(line: Path) -> None:
    """Raise ValueError or OSError where a final training that cells share isn't whole."""
    event = from_line(line.read_text(), 0)
    if not isinstance(event, FinalEvent) or checksum(line.with_name("model.onnx")) != event.sha256:
        raise ValueError("its model is another one")


def _cells(folder: Path) -> list[Path]:
    """The folders of a sweep's cells."""
    if not (folder / SWEEP).exists():
        return []
    names = {path.parent.name for name in (CONFIG, LOG, CELL) for path in folder.glob(f"*/{name}")}
    return [folder / name for name in sorted(names)]


def _left(folder: Path, *, below: bool) -> Iterator[Finding]:
    for path in leftovers(folder, below=below):
        yield Finding(os.path.relpath(path, folder), "leftover", "of a writer that was killed", remove=path)


def _checkpoint(path: Path, name: str) -> Finding:
    try:
        from chanc.training.checkpoint import load_state

        load_state(path)
    except (ImportError, MissingDependencyError):
        return Finding(name, "ok", "not looked into: that needs PyTorch")
    except ChancError:
        return Finding(name, "damaged", "the training begins anew", remove=path)
    return Finding(name, "ok")


def _read(what: str, why: str, remove: Path | None = None) -> Finding:
    """Of what is read: nothing is wrong with it, or a mend removes it."""
    return Finding(what, "damaged", why, remove=remove) if why else Finding(what, "ok")


def _state(path: Path, expected: str) -> State:
    """Whether a file has the checksum that it should have."""
    if not path.is_file():
        return "gone"
    try:
        return "ok" if checksum(path) == expected else "damaged"
    except OSError:
        return "damaged"


def _wrong(read: Callable[[T], object], what: T) -> str:
    """What is wrong with something that is read; nothing where it can be."""
    try:
        read(what)
    except (ChancError, ValueError, OSError) as error:
        text = str(error)
        return text.partition(" is damaged: ")[2].partition("; see ")[0] or text
    return ""
