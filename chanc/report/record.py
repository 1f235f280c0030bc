"""What the report draws of a run: its trials with all their figures, its settings, and the rows that it compares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chanc.files import Json
from chanc.report.swept import SweptCell
from chanc.runs import Epoch, EpochEvent, ErrorEvent, Row, StateEvent, Timing, TrialEvent, best, final_rows, read_run
from chanc.runs.agreement import agreements, in_words
from chanc.runs.cautions import cautions
from chanc.runs.edges import EdgeEpoch, Units, edge_epochs, kept_units
from chanc.runs.events import Metrics
from chanc.runs.supernet import SupernetEpoch, supernet_epochs

Tree = Mapping[str, Json]


@dataclass(frozen=True)
class TrialRow:
    """One trial. group_metric, momentum and cumulative are by group; failed and skipped say why nothing came of it."""

    id: int
    widths: Mapping[str, int]
    params: int | None = None
    macs: int | None = None
    top1: float | None = None
    epochs: tuple[Epoch, ...] = ()
    group_metric: Mapping[str, float] = field(default_factory=dict)
    momentum: Mapping[str, float] = field(default_factory=dict)
    cumulative: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""
    skipped: str = ""

    def row(self, name: str) -> Row:
        """The trial as a row of a comparison."""
        return Row(name, self.params, self.macs, self.top1)


@dataclass(frozen=True)
class Record:
    """What is drawn of a run.

    rows: the comparison after the final trainings; best: the trial that trained the best; whole: the epochs of a method
    that trains by itself; masked: what those of a masking search say of its widths; edges: what those of a search that
    drops inputs say, and kept: the units that readers ended with; warnings: what to know before trusting it; told:
    other sentences on the run. held_out: images that a trial's top-1 is the share of, where they are known. cells: of
    a sweep, those that are finished.
    """

    path: Path
    config: Tree
    trials: tuple[TrialRow, ...] = ()
    timing: tuple[Timing, ...] = ()
    rows: tuple[Row, ...] = ()
    best: int | None = None
    whole: tuple[Epoch, ...] = ()
    masked: tuple[SupernetEpoch, ...] = ()
    edges: tuple[EdgeEpoch, ...] = ()
    kept: Units = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    held_out: int | None = None
    cells: tuple[SweptCell, ...] = ()

    def trial_error(self, top1: float | None) -> float | None:
        """The standard error of a top-1 (0 to 1) that was found on the held-out images, once."""
        return math.sqrt(top1 * (1 - top1) / self.held_out) if self.held_out and top1 is not None else None

    @property
    def epochs(self) -> list[Epoch]:
        """The epochs of all trials in a row, or of the method that trains by itself."""
        return [epoch for trial in self.trials for epoch in trial.epochs] or list(self.whole)

    @property
    def groups(self) -> list[str]:
        """The group ids of all trials, in the order in which the run lists them (that of the graph)."""
        return list(dict.fromkeys(group for trial in self.trials for group in trial.widths))

    def setting(self, name: str, default: Json = None) -> Json:
        """Return a setting of the run, wherever config.json holds it: the outermost one of that name."""
        level: list[Tree] = [self.config]
        while level:
            for place in level:
                if place.get(name) is not None and not isinstance(place[name], dict):
                    return place[name]
            level = [value for place in level for value in place.values() if isinstance(value, dict)]
        return default

    @property
    def subject(self) -> str:
        """The names that tell which network this is: the model's and the preset's."""
        return f"{self.setting('model', '')} {self.setting('preset', '')}"

    @property
    def numbers(self) -> list[int]:
        """The number of each trial."""
        return [trial.id for trial in self.trials]

    @property
    def measured(self) -> list[TrialRow]:
        """The trials that came to a top-1: neither failed nor skipped."""
        return [trial for trial in self.trials if trial.top1 is not None]


def finite(value: object) -> float | None:
    """Return `value` where it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def percent(values: Sequence[float | None]) -> list[float | None]:
    """Return shares (0 to 1) as percentages."""
    return [None if value is None else round(value * 100, 4) for value in values]


def read_record(run_dir: Path) -> Record:
    """Read a run directory. Raises RunError where `run_dir` is none, or a file in it is damaged."""
    run = read_run(run_dir)
    figures: dict[str, Metrics] = {}
    for state in run.of(StateEvent):
        figures |= state.figures
    found, masked, edges = best(run), supernet_epochs(run), edge_epochs(run)
    return Record(
        path=run.path,
        config={"settings": dict(run.settings), "environment": dict(run.environment)},
        trials=tuple(sorted((_trial(event, figures) for event in run.outcomes), key=lambda trial: trial.id)),
        timing=run.timing,
        rows=tuple(final_rows(run)),
        best=found.trial if found is not None else None,
        whole=tuple(
            # The figures of searches for masks and edges are no layers': they have sections of their own.
            Epoch(event.id, event.loss, event.score, metrics={} if masked or edges else event.metrics)
            for event in run.of(EpochEvent)
        ),
        masked=masked,
        edges=edges,
        kept=kept_units(run) if edges else {},
        warnings=tuple(cautions(run)),
        told=(in_words(found_in),) if (found_in := agreements(run)) else (),
        held_out=images if isinstance(images := run.environment.get("held_out"), int) else None,
    )


def best_trial(record: Record) -> TrialRow | None:
    """Return the trial that trained the best widths, else the measured one of the highest top-1, None before any."""
    named = [trial for trial in record.measured if trial.id == record.best]
    return next(iter(named), None) or max(record.measured, key=lambda trial: trial.top1 or 0.0, default=None)


def _trial(event: TrialEvent | ErrorEvent, figures: Mapping[str, Metrics]) -> TrialRow:
    widths = event.decision.widths
    if isinstance(event, ErrorEvent):
        failed, skipped = ("", event.reason) if event.skipped else (event.reason, "")
        return TrialRow(event.id, widths, failed=failed, skipped=skipped)
    known = figures.get(str(event.id), {})
    return TrialRow(
        id=event.id,
        widths=widths,
        params=event.params,
        macs=event.macs,
        top1=finite(event.score),
        epochs=event.epochs,
        group_metric=event.metrics.get("group_metric", {}),
        momentum=known.get("momentum", {}),
        cumulative=known.get("cumulative", {}),
    )
