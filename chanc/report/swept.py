"""The cells of a sweep as the report draws them: what came out of a search, and what was measured of its best trial."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chanc.errors import RunError
from chanc.runs import TrialEvent, best, read_run
from chanc.runs.edges import edge_epochs
from chanc.runs.paired import standard_error
from chanc.runs.sweeps import CellResult

MEASURED = {"qc": "QC", "rank": "rank R", "kappa": "condition κ"}
"""What is measured of every layer, in both modes, and how it is called."""


@dataclass(frozen=True)
class SweptCell:
    """A finished cell. figures: of its best trial, by name, those that are known.

    qc, rank, kappa: means over the layers and both modes after the last epoch; score, loss: on the held-out images;
    gap: that loss minus the training's; one_shot: of a search that drops inputs, the score that it ends with. widths:
    those of each trial that worked, in channels by group.
    """

    result: CellResult
    figures: Mapping[str, float] = field(default_factory=dict)
    widths: Sequence[Mapping[str, int]] = ()

    @property
    def final(self) -> float | None:
        """Top-1 (0 to 1) on the test set of what was found, where it was trained in full."""
        row = self.result.rows.get("found")
        return row.top1 if row is not None and row.scores else None

    @property
    def setting(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Its method and its options: what it shares with the cells of other seeds."""
        return self.result.algo, tuple((name, word(value)) for name, value in self.result.axes.items())


def word(value: object) -> str:
    """A value of an axis as people read it."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def swept(folder: Path, result: CellResult) -> SweptCell:
    """A finished cell with the figures of its best trial, or of a search for edges; none where its log is gone."""
    try:
        run = read_run(folder)
    except RunError:
        return SweptCell(result)
    found = best(run)
    if epochs := edge_epochs(run):
        score = epochs[-1].score
        return SweptCell(result, {"one_shot": score, "score": score} if math.isfinite(score) else {})
    trial = next((one for one in run.trials if found is not None and one.id == found.trial), None)
    widths = [one.decision.widths for one in run.trials]
    return SweptCell(result, figures_of(trial) if trial is not None else {}, widths)


def figures_of(trial: TrialEvent) -> dict[str, float]:
    """What is drawn of a trial, by name; what is no finite number is left out."""
    figures = {"score": trial.score, "loss": trial.loss}
    if trial.epochs:
        last = trial.epochs[-1]
        figures["gap"] = trial.loss - last.loss
        for name in MEASURED:
            known = [layer[f"{mode}_{name}"] for layer in last.metrics.values() for mode in ("in", "out")
                     if f"{mode}_{name}" in layer]  # fmt: skip
            if known:
                figures[name] = statistics.fmean(known)
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def by_setting(cells: Sequence[SweptCell]) -> dict[tuple[str, tuple[tuple[str, str], ...]], list[SweptCell]]:
    """The cells that differ by nothing but their seed."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], list[SweptCell]] = {}
    for cell in cells:
        found.setdefault(cell.setting, []).append(cell)
    return found


def varied(cells: Sequence[SweptCell]) -> list[str]:
    """The options with two values or more."""
    values: dict[str, set[str]] = {}
    for cell in cells:
        for name, value in cell.result.axes.items():
            values.setdefault(name, set()).add(word(value))
    return [name for name, seen in values.items() if len(seen) > 1]


def titled(algo: str, options: Sequence[tuple[str, str]]) -> str:
    """A setting in words: greedy, gamma 0.8."""
    return ", ".join([algo, *(f"{name} {value}" for name, value in options)])


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean of values over seeds, and its standard error where there are two or more."""
    return statistics.fmean(values), standard_error(values)
