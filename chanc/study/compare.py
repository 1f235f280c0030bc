"""The end of a search: the widths that were found against the original network and against scaled ones.

All rivals are trained from scratch with one recipe and seeds, and judged on the test set, which no search ever sees.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.table import Table

from chanc.errors import ChancError, RunError, TrialError
from chanc.study.driver import INPUT, trial_seed
from chanc.study.engine import Engine, Trained, Watcher
from chanc.study.methods.trial.random import Random
from chanc.study.progress import Progress, amount
from chanc.study.rundir import RunDir, plain
from chanc.study.space import Limits, Space, Widths, scale_to

RIVALS = ("baseline", "uniform", "random")
WIDEST = 65536


class Finisher(Engine, Protocol):
    """An engine that also does final trainings."""

    def train_final(self, model: Any, *, seed: int, checkpoint: Path, watch: Watcher) -> Trained:
        """Train from scratch, going on from `checkpoint` where it exists; top-1 on the test set."""

    def latency(self, model: Any) -> float:
        """Seconds of one input."""

    def check(self, model: Any) -> None:
        """Raise ModelError for a model that can't be trained."""

    def export(self, model: Any, folder: Path) -> None:
        """Write model.py and model.safetensors: the model in plain PyTorch."""


@dataclass(frozen=True)
class Finals:
    """How final trainings are done: a recipe (JSON, for the record), epochs, seeds, and against whom."""

    recipe: Mapping[str, Any]
    epochs: int
    seeds: int = 1
    compare: Sequence[str] = ("baseline", "uniform")

    def __post_init__(self) -> None:
        unknown = [name for name in self.compare if name not in RIVALS]
        if unknown:
            raise RunError(f"there is nothing named {unknown[0]!r} to compare with; there are {', '.join(RIVALS)}")


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
            widths[name] = scale_to(space, limits, _floats(space.widths), target, "params")
        elif name == "random":
            sampler = Random(seed=seed, min_width=1, max_width=WIDEST, round_to=round_to, target_params=target)
            widths[name] = sampler.draw(space, 0)
    return widths


def train_finals(
    engine: Finisher, run: RunDir, finals: Finals, widths: Mapping[str, Widths], seed: int, progress: Progress
) -> list[dict[str, Any]]:
    """Train every rival with every seed and write comparison.json; what a killed run finished is not done again.

    Returns its rows: name, params, macs, top1 (mean, 0 to 1), top1_std, latency_s, widths. A training that fails is
    named and left out. best.onnx and model.py are the found widths' first seed.
    """
    total = len(widths) * finals.seeds
    board = dataclasses.replace(progress, trials=total, epochs=finals.epochs, rows=[])
    rows = []
    with board.shown():
        for name, of in widths.items():
            results = []
            for turn in range(finals.seeds):
                result = _final(engine, run, finals, name, of, trial_seed(seed, 10**6 + turn), turn, board)
                results += [result] if result is not None else []
            if results:
                rows.append(_row(name, of, results) | {"latency_s": _latency(engine, run, name)})
    run.write("comparison.json", {"epochs": finals.epochs, "seeds": finals.seeds, "rows": rows})
    return rows


def _final(
    engine: Finisher, run: RunDir, finals: Finals, name: str, widths: Widths, seed: int, turn: int, progress: Progress
) -> dict[str, Any] | None:
    """One final training, or its result from disk; None where it failed."""
    folder = run.folder(f"final/{name}-{turn}")
    asked = plain({"recipe": finals.recipe, "epochs": finals.epochs, "widths": widths, "seed": seed})
    result = run.read(f"final/{name}-{turn}/result.json")
    if isinstance(result, dict) and result.get("asked") == asked and (folder / "model.onnx").exists():
        return result
    checkpoint = folder / "training.safetensors"
    if run.read(f"final/{name}-{turn}/asked.json") != asked:
        checkpoint.unlink(missing_ok=True)
        run.write(f"final/{name}-{turn}/asked.json", asked)
    model = engine.resize(engine.load(run.path / INPUT), widths, fresh=True, seed=seed)
    price = engine.price(model)
    progress.trial(len(progress.rows), price.params, price.macs, f"{name} {turn + 1}/{finals.seeds}")
    try:
        trained = engine.train_final(model, seed=seed, checkpoint=checkpoint, watch=progress)
    except TrialError as error:
        progress.say(f"the final training of {name} failed: {error}")
        return None
    engine.save(trained.model, folder / "model.onnx")
    result = {"asked": asked, "top1": trained.top1, "loss": trained.loss, "params": price.params, "macs": price.macs,
              "epochs": trained.epochs}  # fmt: skip
    run.write(f"final/{name}-{turn}/result.json", result)
    checkpoint.unlink(missing_ok=True)
    return result


def _row(name: str, widths: Widths, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scores = [float(result["top1"]) for result in results]
    return {
        "name": name,
        "params": results[0]["params"],
        "macs": results[0]["macs"],
        "top1": statistics.fmean(scores),
        "top1_std": statistics.stdev(scores) if len(scores) > 1 else None,
        "widths": widths,
    }


def _latency(engine: Finisher, run: RunDir, name: str) -> float | None:
    """Seconds of one input, None where onnxruntime is missing or can't run the model."""
    try:
        return engine.latency(engine.load(run.path / "final" / f"{name}-0" / "model.onnx"))
    except (ChancError, OSError):
        return None


def quick_rows(engine: Finisher, run: RunDir, best: Widths, trial: int | None) -> list[dict[str, Any]]:
    """The same rows without a final training: costs and latencies, and the held-out top-1 of the best trial."""
    rows = []
    for name, path in (("baseline", run.path / INPUT), ("found", run.path / "best.onnx")):
        model = engine.load(path)
        price = engine.price(model)
        try:
            seconds: float | None = engine.latency(model)
        except ChancError:
            seconds = None
        top1 = run.trials[trial]["top1"] if name == "found" and trial is not None else None
        rows.append({"name": name, "params": price.params, "macs": price.macs, "top1": top1, "latency_s": seconds})
    return rows


def verdict(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One honest sentence a rival: by how much the found widths beat it, or that they don't."""
    from chanc.report.summary import verdict as judge

    return judge(list(rows))


def table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """The rows for a terminal."""
    shown = Table(title=title, title_justify="left", header_style="bold")
    shown.add_column("")
    for column in ("params", "MACs", "top-1", "latency"):
        shown.add_column(column, justify="right")
    for row in rows:
        top1, spread, seconds = row.get("top1"), row.get("top1_std"), row.get("latency_s")
        score = "-" if top1 is None or math.isnan(top1) else f"{top1:.2%}" + (f" ± {spread:.2%}" if spread else "")
        speed = f"{seconds * 1e3:.2f} ms" if seconds else "-"
        shown.add_row(str(row["name"]), f"{row['params']:,}", amount(row["macs"]), score, speed)
    return shown


def _floats(widths: Widths) -> dict[str, float]:
    return {gid: float(width) for gid, width in widths.items()}
