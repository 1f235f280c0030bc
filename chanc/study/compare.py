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

from chanc.errors import ChancError, TrialError
from chanc.files import Json, checksum, plain
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
    differences,
    final_rows,
    points,
    read_run,
)
from chanc.runs.edges import TRAINED
from chanc.runs.overhead import FINAL
from chanc.runs.seal import read_sealed, write_sealed
from chanc.study.driver import trial_seed
from chanc.study.engine import Edges, Engine, Trained, Watcher
from chanc.study.progress import Progress, amount
from chanc.study.rivals import RIVALS, TUNED, named
from chanc.study.shelf import Shelf, put, take
from chanc.study.space import Price

START = "from_weights"
"""In the recipe of a final training that isn't from scratch: the SHA-256 of the model whose weights it starts from."""


class Finisher(Engine, Protocol):
    """An engine that also does final trainings."""

    def train_final(
        self, model: ir.Model, *, seed: int, checkpoint: Path, watch: Watcher, fresh: bool = True,
        edges: Edges | None = None,
    ) -> Trained:  # fmt: skip
        """Train, from scratch if `fresh`, going on from `checkpoint` where it exists; top-1 on the test set.

        edges: consumers read these units alone, where they are named; what others were read by is zero then.
        """

    def lowered(self, model: ir.Model, edges: Edges) -> ir.Model:
        """The model in which consumers read the kept units alone, as small a graph as pays."""

    def price_of(self, model: ir.Model, edges: Edges) -> Price:
        """What the model costs so: params without those that are zero, and the MACs of the graph."""

    def latency(self, model: ir.Model) -> float:
        """Seconds of one input."""

    def check(self, model: ir.Model) -> None:
        """Raise ModelError for a model that can't be trained."""

    def complete(self, model: ir.Model) -> None:
        """Give the best model, in place, what it is handed over with."""

    def export(self, model: ir.Model, folder: Path) -> None:
        """Write model.py and model.safetensors: the model in plain PyTorch."""


@dataclass(frozen=True)
class Finals:
    """How final trainings are done: a recipe (JSON, for the record), epochs, seeds, and against whom.

    shelf: where they are kept for other runs, and what other runs have left.
    """

    recipe: Mapping[str, Json]
    epochs: int
    seeds: int = 1
    compare: Sequence[str] = RIVALS
    shelf: Shelf | None = None

    def __post_init__(self) -> None:
        named(self.compare)


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


def train_finals(
    engine: Finisher, run: RunDir, finals: Finals, rivalry: Mapping[str, Sequence[Decision]], seed: int,
    progress: Progress,
) -> list[Row]:  # fmt: skip
    """Train every rival with every seed and write comparison.json; what a killed run finished is not done again.

    rivalry: the decision of each rival for each of its trainings; what two rivals have in common is trained once. The
    one named TUNED starts from the weights that the search trained. Returns the rows. A training that fails is named
    and left out. Earlier finals of other decisions or another recipe are cancelled: a comparison is of one kind.
    """
    bouts = _bouts(run, finals, rivalry, seed)
    stale = [number for number, event in run.record.live.items() if isinstance(event, FinalEvent)
             and not any(bout.is_done_by(event) and _kept(run, event) for bout in bouts)]  # fmt: skip
    if stale:
        run.append(VoidEvent(tuple(stale)))
    done = {event.id for event in run.record.finals}
    board = dataclasses.replace(progress, trials=len(bouts), epochs=finals.epochs, rows=[])
    with board.shown():
        for bout in bouts:
            if bout.id in done:
                _state_of(run, bout).unlink(missing_ok=True)  # of a process that was killed just before it did so
                continue
            board.in_time()
            if (twin := _trained_already(run, bout)) is not None:
                run.append(dataclasses.replace(twin, id=bout.id))
                continue
            label = f"{bout.name} {bout.turn + 1}/{finals.seeds}"
            _final(engine, run, bout, board, label, finals.shelf)
    for event in {event.name: event for event in reversed(run.record.finals)}.values():
        seconds = _latency(engine, run.path / event.file)
        if seconds is not None:
            run.append_timing(Timing(event.name, latency_s=seconds))
    rows = final_rows(read_run(run.path))
    judged = {name: {**dataclasses.asdict(one), "judgement": one.judgement} for name, one in differences(rows).items()}
    run.write("comparison.json", {"epochs": finals.epochs, "seeds": finals.seeds, "differences": judged,
                                  "rows": [dataclasses.asdict(row) for row in rows]})  # fmt: skip
    return rows


def _bouts(run: RunDir, finals: Finals, rivalry: Mapping[str, Sequence[Decision]], seed: int) -> list[Bout]:
    recipe = plain({**finals.recipe, "epochs": finals.epochs})
    assert isinstance(recipe, dict)
    tuned = {TUNED: {**recipe, START: checksum(run.path / TRAINED)}} if TUNED in rivalry else {}
    return [
        Bout(name, turn, trial_seed(seed, 10**6 + turn), each, tuned.get(name, recipe))
        for name, of in rivalry.items()
        for turn, each in enumerate(of)
    ]


def _trained_already(run: RunDir, bout: Bout) -> FinalEvent | None:
    """The training of another rival that is the same one: it would come out alike, bit by bit."""
    return next((event for event in run.record.finals if bout.is_done_by(dataclasses.replace(event, id=bout.id))), None)


def _kept(run: RunDir, event: FinalEvent) -> bool:
    return (run.path / event.file).is_file()


def _final(engine: Finisher, run: RunDir, bout: Bout, progress: Progress, label: str, shelf: Shelf | None) -> None:
    """Do one final training, or take it over from another run; what is done is left for the others first."""
    if shelf is None:
        _done(run, bout, _trained(engine, run, bout, progress, label))
        return
    with shelf.reserved(bout, progress.in_time) as place:
        if (known := take(place, run, bout.id)) is not None:
            run.append(known)
            _state_of(run, bout).unlink(missing_ok=True)
            return
        done = _trained(engine, run, bout, progress, label)
        if done is not None:
            put(place, run, done[0])
        _done(run, bout, done)


def _done(run: RunDir, bout: Bout, done: tuple[FinalEvent, Mapping[str, float]] | None) -> None:
    """Write a training down; its own state is needed no more."""
    if done is not None:
        event, spent = done
        run.append(event)
        run.append_timing(Timing(FINAL + bout.id, spent))
        _state_of(run, bout).unlink(missing_ok=True)


def _trained(
    engine: Finisher, run: RunDir, bout: Bout, progress: Progress, label: str
) -> tuple[FinalEvent, Mapping[str, float]] | None:
    """One final training, and the seconds that it took; one that fails leaves nothing but a line of text."""
    checkpoint, file = _checkpoint(run, bout), f"final/{bout.id}/model.onnx"
    fresh, edges = START not in bout.recipe, bout.decision.edges
    model = _begun(engine, run, bout)
    price = engine.price_of(model, edges) if edges else engine.price(model)
    progress.trial(len(progress.rows), price.params, price.macs, label)
    try:
        trained = engine.train_final(
            model, seed=bout.seed, checkpoint=checkpoint, watch=progress, fresh=fresh, edges=edges
        )
    except TrialError as error:
        progress.say(f"the final training of {bout.name} failed: {error}")
        return None
    engine.save(engine.lowered(trained.model, edges) if edges else trained.model, run.path / file)
    event = FinalEvent(
        id=bout.id,
        decision=bout.decision,
        recipe=bout.recipe,
        seed=bout.seed,
        params=price.params,
        macs=price.macs,
        score=trained.score,
        loss=trained.loss,
        epochs=tuple(trained.epochs),
        file=file,
        sha256=checksum(run.path / file),
    )
    return event, trained.spent


def _begun(engine: Finisher, run: RunDir, bout: Bout) -> ir.Model:
    """The model that a final training begins with; that of edges reads everything still."""
    if START in bout.recipe:
        return engine.load(run.path / TRAINED)
    model, decision = engine.load(run.path / INPUT), bout.decision
    return model if decision.edges else engine.resize(model, decision.widths, fresh=True, seed=bout.seed)


def _state_of(run: RunDir, bout: Bout) -> Path:
    """The checkpoint of a training that is under way."""
    return run.path / "final" / bout.id / "training.safetensors"


def _checkpoint(run: RunDir, bout: Bout) -> Path:
    """Where the training goes on from; one of another recipe, or of other widths, is removed.

    asked.json beside it says what it is a checkpoint of.
    """
    folder, checkpoint, asked = run.folder(f"final/{bout.id}"), _state_of(run, bout), plain(bout)
    assert isinstance(asked, dict)
    if read_sealed(folder / "asked.json") != asked:
        with clear_errors(folder):
            checkpoint.unlink(missing_ok=True)
            write_sealed(folder / "asked.json", asked)
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
        edges = found.decision.edges if name == "found" else {}
        price = engine.price_of(engine.load(run.path / INPUT), edges) if edges else engine.price(engine.load(path))
        top1 = scores.get(found.trial) if name == "found" and found.trial is not None else None
        rows.append(Row(name, price.params, price.macs, top1, latency_s=_latency(engine, path)))
    return rows


def table(rows: Sequence[Row], title: str) -> Table:
    """The rows for a terminal; ± is the standard error."""
    shown = Table(title=title, title_justify="left", header_style="bold")
    shown.add_column("")
    for column in ("params", "MACs", "top-1", "n", "found is", "latency"):
        shown.add_column(column, justify="right")
    against = differences(rows)
    for row in rows:
        spread = f" ± {row.top1_error:.2%}" if row.top1_error is not None else ""
        score = "-" if row.top1 is None or math.isnan(row.top1) else f"{row.top1:.2%}{spread}"
        speed = f"{row.latency_s * 1e3:.2f} ms" if row.latency_s else "-"
        judged = f"{one.judgement}: {points(one)}" if (one := against.get(row.name)) else ""
        shown.add_row(row.title, f"{int(row.params or 0):,}", amount(row.macs or 0), score, str(row.n), judged, speed)
    return shown
