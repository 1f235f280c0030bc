"""A search, a training and a sweep of seconds, each to be begun or gone on with in a folder; and what they leave.

benchmarks/reliability.py kills them, fills the disk under them, and runs two at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx

import chanc.study.torch_engine  # noqa: F401  (a child that is forked need not import it again)
from chanc.api import train as train_model
from chanc.files import Json
from chanc.ir import load, save
from chanc.runs.record import CONFIG
from chanc.runs.sweeps import SWEEP
from chanc.study.pools import Done, Job
from chanc.study.study import search as search_widths
from chanc.study.sweep import cells
from chanc.study.sweep import sweep as sweep_cells
from chanc.testing.graphs import Graph

CLOCKS = ("timing.jsonl",)
"""Files of seconds."""

TIMED = ("latency_s", "crc")
"""Fields of JSON files that are seconds, or a checksum over seconds."""


def network() -> onnx.ModelProto:
    """Two convolutions for the digits."""
    graph = Graph()
    x = graph.input("image", [1, 1, 8, 8], dynamic={0: "n"})
    return graph.model(x.conv(8).bn().relu().conv(8).bn().relu().gap().flatten().gemm(10))


DATA = {"data": "digits", "limit_train": 64, "limit_test": 32}
TRAIN = {"batch_size": 32, "device": "cpu"}


def search(place: Path, trials: int = 2) -> None:
    """Two trials with a checkpoint each epoch, and two final trainings."""
    search_widths(network(), algo="greedy", trials=trials, epochs=1, out=place, resume=(place / CONFIG).exists(),
                  timeout=10**6, options={"start_width": 0}, train=TRAIN, final_epochs=1, compare=("baseline",),
                  **DATA)  # fmt: skip


def train(place: Path) -> None:
    """Three epochs with a checkpoint each."""
    place.mkdir(exist_ok=True)
    done = train_model(load(network()), epochs=3, checkpoint=place / "state.safetensors", **DATA, **TRAIN)
    save(done.model, place / "out.onnx")


class Inline:
    """A pool whose processes are this one."""

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        for job in jobs:
            try:
                job.function(*job.arguments)
                done(job, "")
            except SystemExit:
                done(job, "failed")


def sweep(place: Path) -> None:
    """Two seeds of one trial, whose final trainings of the baseline are not the same."""
    place.parent.mkdir(exist_ok=True)
    model = place.with_name("model.onnx")
    save(load(network()), model)  # each time, so that every time takes as many operations
    sweep_cells(model, cells(["greedy"], {}, [0, 1]), out=place, resume=(place / SWEEP).exists(), pool=Inline(),
                trials=1, epochs=1, train=TRAIN, final_epochs=1, compare=("baseline",), **DATA)  # fmt: skip


WORKS: dict[str, Callable[[Path], None]] = {"search": search, "train": train, "sweep": sweep}


def left(folder: Path) -> dict[str, object]:
    """What a work left, by path, without the seconds in it; a file that only vouches for others by its names."""
    return {path.relative_to(folder).as_posix(): _content(path) for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != ".lock"}  # fmt: skip


def _content(path: Path) -> object:
    if path.name in CLOCKS:
        return ""
    if path.suffix != ".json":
        return path.read_bytes()
    found = json.loads(path.read_text())
    return sorted(found) if path.name == "made.json" else _timeless(found)


def _timeless(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _timeless(part) for name, part in value.items() if name not in TIMED}
    return [_timeless(part) for part in value] if isinstance(value, list) else value
