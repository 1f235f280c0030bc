"""Final trainings that the runs of a sweep have in common: each is done once, by the run that comes to it first.

    FOLDER/KEY/model.onnx   the trained network
    FOLDER/KEY/final.json   the line of its event; it comes last, and what has none was not finished

KEY is a checksum of all that decides a training. The others wait for it as long as it takes, and then have it too: it
would come out alike, bit by bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chanc.files import Json, atomic_write, atomic_write_text, checksum, plain
from chanc.runs import FinalEvent, RunDir, clear_errors
from chanc.runs.events import from_line, to_line

LINE, MODEL = "final.json", "model.onnx"
NAP = 0.5
"""Seconds between two looks at whether another run has done its training."""


@dataclass(frozen=True)
class Shelf:
    """Finished trainings in a folder. about: all that decides a training, besides what the training itself says."""

    folder: Path
    about: Mapping[str, Json]

    def place(self, bout: object) -> Path:
        """The folder of a training, which is a dataclass of JSON values but for its name and turn."""
        asked = plain(bout)
        assert isinstance(asked, dict)
        asked = {name: value for name, value in asked.items() if name not in ("name", "turn")}
        text = json.dumps([plain(self.about), asked], sort_keys=True)
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:20]

    @contextlib.contextmanager
    def reserved(self, bout: object, in_time: Callable[[], None]) -> Iterator[Path]:
        """The folder of a training, for this run alone; in_time is called while another one has it, and may raise."""
        place = self.place(bout)
        with clear_errors(place):
            place.mkdir(parents=True, exist_ok=True)
            handle = open(place / ".lock", "a")  # noqa: SIM115  (closed below, with the lock)
        with handle:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    in_time()
                    time.sleep(NAP)
            yield place


def take(place: Path, run: RunDir, name: str) -> FinalEvent | None:
    """What was trained by another run, as the training `name` of this one; None where there is nothing whole."""
    try:
        event = from_line((place / LINE).read_text(), 0)
        if not isinstance(event, FinalEvent) or checksum(place / MODEL) != event.sha256:
            return None
    except (OSError, ValueError):
        return None
    file = f"final/{name}/{MODEL}"
    with clear_errors(run.path), atomic_write(run.folder(f"final/{name}") / MODEL) as temporary:
        shutil.copyfile(place / MODEL, temporary)
    return dataclasses.replace(event, id=name, file=file)


def put(place: Path, run: RunDir, event: FinalEvent) -> None:
    """Leave a finished training for the others."""
    with clear_errors(place):
        with atomic_write(place / MODEL) as temporary:
            shutil.copyfile(run.path / event.file, temporary)
        atomic_write_text(place / LINE, to_line(event, 0))
