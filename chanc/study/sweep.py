"""A sweep: the same search for every combination of methods, options and seeds; each cell is a run directory.

    sweep.json        what was asked; a resumed sweep must agree with it
    CELL/             the run directory of a cell; CELL/cell.json once it is finished, CELL/error.txt where it failed
    finals/           the final trainings; what cells have in common is trained once (`chanc.study.shelf`)
    results.json      one row a finished cell

A finished cell is never run again, one that was killed goes on from its last trial, one that failed is tried again.
Whether a cell is finished is read from its folder and not taken from the pool: a worker may be lost on its last step.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from chanc.errors import RunError
from chanc.files import Json, atomic_write_json, atomic_write_text, plain
from chanc.ir.sizes import Sizes
from chanc.runs import RunDir, clear_errors, first_difference
from chanc.runs.seal import write_sealed
from chanc.runs.sweeps import CellResult, read_asked, read_cell, write_cell
from chanc.study.methods.registry import METHODS
from chanc.study.outcome import Run
from chanc.study.places import applies, over, placed, places
from chanc.study.pools import Job, Pool
from chanc.study.pools.local import LocalPool
from chanc.study.presets import Options, preset
from chanc.study.study import search

Search: TypeAlias = Callable[..., Run]

FINALS = "finals"
"""Where the final trainings of all cells are kept."""

DEFAULT_ALGO, DEFAULT_TASK = "greedy", "classification"

PATIENCE = 60.0
"""Seconds that a cell waits for another process to let go of its folder."""


@dataclass(frozen=True)
class Cell:
    """One search of a sweep. options are the method's, settings all others, by their names on the command line."""

    algo: str
    options: Options
    seed: int
    settings: Options = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its folder: greedy-lr0.1-gamma0.8-seed0."""
        parts = [f"{name}{_word(value)}" for name, value in {**self.settings, **self.options}.items()]
        return re.sub(r"[^A-Za-z0-9.+_-]", "_", "-".join([self.algo, *parts, f"seed{self.seed}"]))


def _word(value: Json) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@dataclass(frozen=True)
class SweepResult:
    """The rows of the finished cells, and why the others aren't."""

    path: Path
    rows: Sequence[CellResult]
    failed: Mapping[str, str]


def cells(
    algos: Sequence[str], grid: Mapping[str, Sequence[Json]], seeds: Sequence[int], fixed: Options | None = None
) -> list[Cell]:
    """All combinations, each once: a method and a task take those axes of the grid that they have as options.

    algos: the methods, or none for the preset's. grid: values by the name of an option, as on the command line. fixed:
    the options that all cells have, `preset` and `task` among them. Raises RunError for an unknown method or option, an
    axis that no method or task of the sweep has, and for two cells of one name.
    """
    for name in algos:
        METHODS[name]
    axes: dict[str, str] = {name: places(name)[0][0] for name in grid}
    found: dict[str, Cell] = {}
    for algo in algos or ("",):
        for values in itertools.product(*grid.values()):
            for cell in _cells(algo, dict(zip(grid, values, strict=True)), axes, seeds, fixed or {}):
                if found.setdefault(cell.name, cell) != cell:
                    raise RunError(f"two cells of this sweep have the folder {cell.name}: name the values differently")
    taken = {name for cell in found.values() for name in (*cell.options, *cell.settings)}
    for name in axes:
        if name not in taken:
            raise RunError(f"no method or task of this sweep has an option {name!r}")
    return list(found.values())


def _cells(algo: str, asked: Options, axes: Mapping[str, str], seeds: Sequence[int], fixed: Options) -> Iterator[Cell]:
    """One combination, with every seed."""
    base, task = (asked.get(name, fixed.get(name)) for name in ("preset", "task"))
    algo = algo or (preset(base).algo if base else DEFAULT_ALGO)
    own = {name: value for name, value in asked.items() if applies(name, algo, task or DEFAULT_TASK)}
    options = {name: value for name, value in own.items() if axes[name] == "options"}
    settings = {name: value for name, value in own.items() if axes[name] != "options"}
    for seed in seeds:
        yield Cell(algo, options, seed, settings)


def run_cell(model: str, cell: Cell, path: Path, common: Options, search: Search = search) -> None:
    """One cell, in a process of its own; goes on with what is there. Whatever goes wrong is left in error.txt.

    Raises RunError where the sweep's folder can't be seen from here, SystemExit where the search fails.
    """
    if not path.parent.is_dir():
        raise RunError(f"{platform.node()} has no {path.parent}: a sweep needs a file system that all machines share")
    wait_until_free(path)
    if read_cell(path) is not None:
        return
    (path / "error.txt").unlink(missing_ok=True)
    try:
        run = search(
            model,
            **over(common, placed({**cell.settings, **cell.options})),
            algo=cell.algo,
            seed=cell.seed,
            out=path,
            shelf=path.parent / FINALS,
            resume=(path / "config.json").exists(),
        )
    except Exception as error:
        path.mkdir(parents=True, exist_ok=True)
        atomic_write_text(path / "error.txt", f"{type(error).__name__}: {' '.join(str(error).split())}\n")
        raise SystemExit(1) from error
    if run.stopped:
        return
    rows = {row.name: dataclasses.replace(row, widths=None) for row in run.rows}
    done = len(run.outcomes)
    write_cell(path, CellResult(cell.name, cell.algo, cell.seed, done, run.widths, rows, cell.options, cell.settings))


def wait_until_free(path: Path, patience: float = PATIENCE) -> None:
    """Wait for a worker that was given up for lost, and is still at work in a cell, or for `patience` seconds."""
    end = time.monotonic() + patience
    while path.is_dir() and time.monotonic() < end:
        try:
            with RunDir(path).locked():
                return
        except RunError:
            time.sleep(0.5)


def sweep(
    model: str | os.PathLike[str],
    todo: Sequence[Cell],
    *,
    out: str | os.PathLike[str],
    resume: bool = False,
    pool: Pool | None = None,
    attempts: int = 2,
    say: Callable[[str], None] = lambda line: None,
    function: Callable[..., None] = run_cell,
    dims: Sizes | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    **common: object,
) -> SweepResult:
    """Run the cells of `todo` on a model file; `common` goes to the search as it is, and so do `dims` and `shapes`.

    attempts: how often a cell is started before it is given up. function: what runs a cell, called as `run_cell` is.
    Raises RunError where `out` holds another sweep.
    """
    from chanc.analysis import analyze

    # A bad model, or a size that it can't have, is one clear line now, not one a cell later.
    analyze(model, dims=dims, shapes=shapes)
    common |= {"dims": dims, "shapes": shapes} if dims or shapes else {}
    folder = Path(out).absolute()  # workers may have another working directory
    source = os.fspath(Path(model).absolute())
    asked = plain({"format": 2, "model": os.fspath(model), "cells": [cell.name for cell in todo], "common": common})
    assert isinstance(asked, dict)
    _claim(folder, asked, resume)
    failed: dict[str, str] = {}
    for attempt in range(attempts):
        left = [cell for cell in todo if read_cell(folder / cell.name) is None]
        if not left:
            break
        jobs = [Job(cell.name, function, (source, cell, folder / cell.name, common)) for cell in left]
        (pool or LocalPool()).run(jobs, lambda job, problem: _note(folder, job, problem, failed, say))
        if failed and attempt + 1 < attempts:
            say(f"once more: {', '.join(failed)}")
    rows = [row for cell in todo if (row := read_cell(folder / cell.name)) is not None]
    with clear_errors(folder):
        for row in rows:  # another process may have found the cell taken by the one that finished it
            (folder / row.cell / "error.txt").unlink(missing_ok=True)
        atomic_write_json(folder / "results.json", [row.flat() for row in rows])
    return SweepResult(Path(out), rows, failed)


def _claim(folder: Path, asked: dict[str, Json], resume: bool) -> None:
    before = read_asked(folder)
    if before is None:
        with clear_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_sealed(folder / "sweep.json", asked)
        return
    if not resume:
        raise RunError(f"{folder} holds a sweep already: add --resume to go on with it, or choose another --out")
    difference = first_difference(before, asked)
    if difference is not None:
        raise RunError(f"{folder} was made with other settings: {difference[0]} was {difference[1]}, "
                       f"now it is {difference[2]}")  # fmt: skip


def _note(folder: Path, job: Job, problem: str, failed: dict[str, str], say: Callable[[str], None]) -> None:
    path = folder / job.name
    if path.is_dir():
        os.listdir(path)  # a network file system may remember that there was no cell.json; this makes it look again
    if read_cell(path) is not None:
        failed.pop(job.name, None)
        say(f"{job.name}: done")
        return
    told = path / "error.txt"
    reason = told.read_text().strip() if told.exists() else problem or f"it left no result in {path}"
    failed[job.name] = reason
    say(f"{job.name}: failed: {reason}")
