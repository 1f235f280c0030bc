"""What a search spends beside training, from its timings."""

from __future__ import annotations

import pytest

from chanc.runs import Timing
from chanc.runs.overhead import spent

TIMING = (
    Timing("start", {"analyse": 1.0, "data": 0.5}),
    Timing("0", {"rewrite": 0.5, "train": 60.0, "evaluate": 20.0, "measure": 3.0}),
    Timing("1", {"train": 15.0, "measure": 0.0, "save": 0.0}),
    Timing("final found-0", {"train": 1000.0, "codegen": 7.0}),
    Timing("found", latency_s=0.01),
)


def test_steps_and_evaluations_are_training_and_final_trainings_are_left_out() -> None:
    found = spent(TIMING)
    assert (found.training, found.total) == (95.0, 100.0)
    assert found.share == pytest.approx(0.05)
    assert list(found.rest.items())[:2] == [("measure", 3.0), ("analyse", 1.0)]
    assert "save" not in found.rest
    assert found.in_words(2) == "100 s: training 95, everything else 5 (5.0%: measure 3.0, analyse 1.0)"


def test_a_run_without_a_trial_has_no_share() -> None:
    assert spent(()).share == 0.0
    assert spent(()).in_words() == "0 s: training 0, everything else 0 (0.0%)"
