"""The end of a search: the widths that were found against the original network and against scaled ones.

All rivals are trained from scratch with one recipe and seeds, and judged on the test set, which no search ever sees.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import onnx_ir as ir
from rich.table import Table

from chanc.errors import ChancError, RunError, TrialError
from chanc.files import Json, atomic_write_json, plain
from chanc.runs import (
    INPUT,
    Best,
    Decision,
    FinalEvent,
    Row,
    RunDir,
    Timing,
    VoidEvent,
    clear_errors,
    final_rows,
    read_json,
    read_run,
)
from chanc.study.driver import trial_seed
from chanc.study.engine import Engine, Trained, Watcher
from chanc.study.methods.trial.random import Random
from chanc.study.progress import Progress, amount
from chanc.study.space import WIDEST, Limits, Space, Widths, scale_to

RIVALS = ("baseline", "uniform", "random")


class Finisher(Engine, Protocol):
    """An engine that also does final trainings."""

    def train_final(self, model: ir.Model, *, seed: int, checkpoint: Path, watch: Watcher) -> Trained:
        """Train from scratch, going on from `checkpoint` where it exists; top-1 on the test set."""

    def latency(self, model: ir.Model) -> float:
        """Seconds of one input."""

    def check(self, model: ir.Model) -> None:
        """Raise ModelError for a model that can't be trained."""

    def complete(self, model: ir.Model) -> bool:
        """Give the best model, in place, what it is handed over with; whether that changed it."""

    def export(self, model: ir.Model, folder: Path) -> None:
        """Write model.py and model.safetensors: the model in plain PyTorch."""


@dataclass(frozen=True)
class Finals:
    """How final trainings are done: a recipe (JSON, for the record), epochs, seeds, and against whom."""

    recipe: Mapping[str, Json]
    epochs: int
    seeds: int = 1
    compare: Sequence[str] = ("baseline", "uniform")

    def __post_init__(self) -> None:
        unknown = [name for name in self.compare if name not in RIVALS]
        if unknown:
            raise RunError(f"there is nothing named {unknown[0]!r} to compare with; there are {', '.join(RIVALS)}")


@dataclass(frozen=True)
class Bout:
    """One final training: of the rival `name`, the turn-th of its seeds."""

    name: str
    turn: int
    seed: int
    decision: Decision
    recipe: dict[str, Json]

    @property
    def id(self) -> str:
        """Its event's id, and its folder below final/."""
        return f"{self.name}-{self.turn}"

    def is_done_by(self, event: FinalEvent) -> bool:
        """Whether an event is the outcome of just this training."""
        return (event.id, event.seed, event.decision, event.recipe) == (self.id, self.seed, self.decision, self.recipe)


def rivals(space: Space, found: Widths, compare: Sequence[str], seed: int, round_to: int) -> dict[str, Widths]:
    """The widths of the found network and of those it is compared with, by name.

    uniform: the original widths by one factor, random: widths drawn at random, both at the params of the found one.
    """
    target = space.count(found, "params") if space.price is not None else 0
    limits = Limits(1, WIDEST, round_to)
    widths = {"found": found}
    for name in compare:
        if name == "baseline":
            widths[name] = space.widths
        elif name == "uniform":
            floats = {gid: float(width) for gid, width in space.widths.items()}
            widths[name] = scale_to(space, limits, floats, target, "params")
        elif name == "random":
            sampler = Random(seed=seed, min_width=1, max_width=WIDEST, round_to=round_to, target_params=target)
            widths[name] = sampler.draw(space, 0)
    return widths


def train_finals(
    engine: Finisher, run: RunDir, finals: Finals, widths: Mapping[str, Widths], seed: int, progress: Progress
) -> list[Row]:
    """Train every rival with every seed and write comparison.json; what a killed run finished is not done again.

    Returns its rows. A training that fails is named and left out. Earlier finals of other widths or another recipe are
    cancelled: a comparison is of one kind.
    """
    bouts = _bouts(finals, widths, seed)
    stale = [number for number, event in run.record.live.items() if isinstance(event, FinalEvent)
             and not any(bout.is_done_by(event) and _kept(run, event) for bout in bouts)]  # fmt: skip
    if stale:
        run.append(VoidEvent(tuple(stale)))
    done = {event.id for event in run.record.finals}
    board = dataclasses.replace(progress, trials=len(bouts), epochs=finals.epochs, rows=[])
    with board.shown():
        for bout in bouts:
            if bout.id not in done:
                _final(engine, run, bout, board, f"{bout.name} {bout.turn + 1}/{finals.seeds}")
    for name in {event.name: None for event in run.record.finals}:
        seconds = _latency(engine, run.path / "final" / f"{name}-0" / "model.onnx")
        if seconds is not None:
            run.append_timing(Timing(name, latency_s=seconds))
    rows = final_rows(read_run(run.path))
    run.write("comparison.json", {"epochs": finals.epochs, "seeds": finals.seeds,
                                  "rows": [dataclasses.asdict(row) for row in rows]})  # fmt: skip
    return rows


def _bouts(finals: Finals, widths: Mapping[str, Widths], seed: int) -> list[Bout]:
    recipe = plain({**finals.recipe, "epochs": finals.epochs})
    assert isinstance(recipe, dict)
    return [
        Bout(name, turn, trial_seed(seed, 10**6 + turn), Decision(of), recipe)
        for name, of in widths.items()
        for turn in range(finals.seeds)
    ]


def _kept(run: RunDir, event: FinalEvent) -> bool:
    return (run.path / event.file).is_file()


def _final(engine: Finisher, run: RunDir, bout: Bout, progress: Progress, label: str) -> None:
    """Do one final training; one that fails leaves nothing but a line of text."""
    folder = run.folder(f"final/{bout.id}")
    checkpoint = _checkpoint(folder, bout)
    model = engine.resize(engine.load(run.path / INPUT), bout.decision.widths, fresh=True, seed=bout.seed)
    price = engine.price(model)
    progress.trial(len(progress.rows), price.params, price.macs, label)
    try:
        trained = engine.train_final(model, seed=bout.seed, checkpoint=checkpoint, watch=progress)
    except TrialError as error:
        progress.say(f"the final training of {bout.name} failed: {error}")
        return
    engine.save(trained.model, folder / "model.onnx")
    run.append(
        FinalEvent(
            id=bout.id,
            decision=bout.decision,
            recipe=bout.recipe,
            seed=bout.seed,
            params=price.params,
            macs=price.macs,
            score=trained.score,
            loss=trained.loss,
            epochs=tuple(trained.epochs),
            file=f"final/{bout.id}/model.onnx",
        )
    )
    checkpoint.unlink(missing_ok=True)


def _checkpoint(folder: Path, bout: Bout) -> Path:
    """Where the training goes on from; one of another recipe, or of other widths, is removed.

    asked.json beside it says what it is a checkpoint of.
    """
    checkpoint, asked = folder / "training.safetensors", plain(bout)
    if read_json(folder / "asked.json") != asked:
        with clear_errors(folder):
            checkpoint.unlink(missing_ok=True)
            atomic_write_json(folder / "asked.json", asked)
    return checkpoint


def _latency(engine: Finisher, path: Path) -> float | None:
    """Seconds of one input, None where onnxruntime is missing or can't run the model."""
    try:
        return engine.latency(engine.load(path))
    except (ChancError, OSError):
        return None


def quick_rows(engine: Finisher, run: RunDir, found: Best) -> list[Row]:
    """The same rows without a final training: costs and latencies, and the held-out top-1 of the best trial."""
    scores = {event.id: event.score for event in run.record.trials}
    rows = []
    for name, path in (("baseline", run.path / INPUT), ("found", run.path / "best.onnx")):
        price = engine.price(engine.load(path))
        top1 = scores.get(found.trial) if name == "found" and found.trial is not None else None
        rows.append(Row(name, price.params, price.macs, top1, latency_s=_latency(engine, path)))
    return rows


def table(rows: Sequence[Row], title: str) -> Table:
    """The rows for a terminal."""
    shown = Table(title=title, title_justify="left", header_style="bold")
    shown.add_column("")
    for column in ("params", "MACs", "top-1", "latency"):
        shown.add_column(column, justify="right")
    for row in rows:
        spread = f" ± {row.top1_std:.2%}" if row.top1_std else ""
        score = "-" if row.top1 is None or math.isnan(row.top1) else f"{row.top1:.2%}{spread}"
        speed = f"{row.latency_s * 1e3:.2f} ms" if row.latency_s else "-"
        shown.add_row(row.name, f"{int(row.params or 0):,}", amount(row.macs or 0), score, speed)
    return shown
