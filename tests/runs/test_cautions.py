from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from chanc.runs import Best, Decision, Epoch, ErrorEvent, Event, Record, StateEvent, TrialEvent
from chanc.runs.agreement import agreements, in_words
from chanc.runs.cautions import cautions

JUDGED = {"held_out": 100, "chance": 0.1}


def trial(
    number: int, score: float = 0.5, losses: tuple[float, ...] = (2.0, 1.0), **metrics: dict[str, float]
) -> TrialEvent:
    epochs = tuple(Epoch(epoch, loss, score) for epoch, loss in enumerate(losses))
    return TrialEvent(number, Decision({"a": 8}), 1, 1, score, losses[-1], epochs, metrics)


def record(*events: Event, settings: dict[str, Any] | None = None, environment: dict[str, Any] | None = None) -> Record:
    return Record(Path("run"), settings or {}, environment or {}, events)


def test_a_run_without_fault_has_no_warning() -> None:
    own = {"min_width": 8, "max_width": 64}
    assert cautions(record(trial(0), settings=own, environment={**JUDGED, "widths": {"a": 8, "b": 64}})) == []
    assert cautions(record()) == []


@pytest.mark.parametrize(("score", "warned"), [(0.05, True), (0.15, True), (0.17, False), (math.nan, True)])
def test_no_trial_beats_chance(score: float, warned: bool) -> None:
    found = cautions(record(trial(0, 0.08), trial(1, score), environment=JUDGED))
    assert [line.startswith("no trial is better than guessing (10.0%; the best") for line in found] == [True] * warned


@pytest.mark.parametrize(
    ("event", "warned"),
    [
        (trial(1, losses=(2.0, 1.9)), False),
        (trial(1, losses=(2.0, 3.0, 2.1)), True),
        (trial(1, losses=(2.0,)), False),
        (trial(1, losses=(math.inf,)), True),
        (ErrorEvent(1, Decision(), "training diverged: the loss is not finite"), True),
        (ErrorEvent(1, Decision(), "out of memory"), False),
    ],
)
def test_the_loss_diverges(event: TrialEvent | ErrorEvent, warned: bool) -> None:
    found = cautions(record(trial(0), event))
    assert [line.startswith("the loss diverges in trial 1 of 2: ") for line in found] == [True] * warned


def test_own_widths_outside_the_bounds() -> None:
    (line,) = cautions(record(settings={"min_width": 16, "max_width": 256},
                              environment={"widths": {"a": 8, "b": 64, "c": 512}}))  # fmt: skip
    assert line == ("the model's own widths lie outside the bounds of 16 to 256 channels in 2 of 3 groups (8 to 512): "
                    "see --min-width and --max-width")  # fmt: skip


def test_degenerate_layers_are_named() -> None:
    events = [trial(n, degenerate={"a (in)": 2.0, **({"b (out)": 1.0} if n else {})}) for n in range(3)]
    (line,) = cautions(record(*events))
    assert line.endswith("one singular value was kept: layers a (in) in 3, b (out) in 2 of 3 trials")


def test_rank_correlation_over_the_trials() -> None:
    scores = [0.5, 0.6, 0.7, 0.65, 0.9]
    events: list[Event] = [trial(n, score, group_metric={"a": score**2, "b": score}) for n, score in enumerate(scores)]
    figures = {str(n): {"momentum": {"a": -score}} for n, score in enumerate(scores)}
    events.append(StateEvent({}, best=Best(Decision()), figures=figures))
    qc, m = agreements(record(*events))
    assert (qc.of, qc.rho, qc.n, qc.told) == ("QC", pytest.approx(1.0), 5, True)
    assert (m.of, m.rho, m.told) == ("m", pytest.approx(-1.0), True)
    assert in_words([qc, m]) == ("Rank correlation with the held-out score over 5 trials: QC +1.00, m -1.00; unrelated "
                                 "figures reach 0.88 in one case of twenty")  # fmt: skip
    assert agreements(record(*events[:2])) == []
