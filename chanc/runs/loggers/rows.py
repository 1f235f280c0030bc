"""What a tracker of experiments gets of a run: figures by name, each at a step of its own.

    trial/score, trial/loss, trial/params, trial/macs, widths/<group>    by trial; trial/failed where nothing came of it
    epoch/loss, epoch/score, epoch/lr                                    by epoch, counted over all trials
    final/<rival>/score, ...                                             by repeat
    step/params, step/macs, step/<stage>                                 by step of a pruning

Rows follow the log, which only grows: the n-th row of a run is the same whenever it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chanc.files import Json
from chanc.runs.events import EpochEvent, ErrorEvent, Event, FinalEvent, StepEvent, TrialEvent


@dataclass(frozen=True)
class Row:
    """Figures by name, and the step at which they stand; none of them is NaN."""

    step: int
    figures: Mapping[str, float]


def rows(log: Sequence[Event]) -> Iterator[Row]:
    """The rows of a run's events, those among them that others cancel later."""
    epochs = 0
    for event in log:
        if isinstance(event, TrialEvent):
            for epoch in event.epochs:
                yield _row("epoch", epochs, loss=epoch.loss, score=epoch.score, lr=epoch.lr)
                epochs += 1
        yield from _of(event)


def _of(event: Event) -> Iterator[Row]:
    if isinstance(event, TrialEvent):
        widths = {f"widths/{group}": float(width) for group, width in event.decision.widths.items()}
        yield Row(event.id, {**_row("trial", event.id, **_result(event)).figures, **widths})
    elif isinstance(event, ErrorEvent):
        yield _row("trial", event.id, failed=1.0)
    elif isinstance(event, EpochEvent):
        yield _row("epoch", event.id, loss=event.loss, score=event.score)
    elif isinstance(event, FinalEvent):
        yield _row(f"final/{event.name}", event.turn, **_result(event))
    elif isinstance(event, StepEvent):
        yield _row("step", event.id, params=event.params, macs=event.macs, **event.scores)


def _result(event: TrialEvent | FinalEvent) -> dict[str, float]:
    return {"score": event.score, "loss": event.loss, "params": event.params, "macs": event.macs}


def _row(head: str, step: int, **figures: float) -> Row:
    return Row(step, {f"{head}/{name}": float(value) for name, value in figures.items() if not math.isnan(value)})


def settings(values: Mapping[str, Json], head: str = "") -> dict[str, str]:
    """Settings without depth: `{"train": {"lr": 0.1}}` is `{"train.lr": "0.1"}`."""
    found: dict[str, str] = {}
    for name, value in values.items():
        found |= settings(value, f"{head}{name}.") if isinstance(value, dict) else {f"{head}{name}": str(value)}
    return found
