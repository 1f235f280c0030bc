from __future__ import annotations

import dataclasses

import pytest

from chanc import runs as room
from chanc.errors import RunError
from chanc.report.record import best_trial, percent, read_record
from chanc.runs import Best, Decision, ErrorEvent, StateEvent, TrialEvent


def test_a_whole_run(runs, tmp_path):
    record = read_record(runs.write_run(tmp_path / "run", groups=5, trials=7))
    assert len(record.trials) == 7
    assert len(record.groups) == 5
    assert record.setting("algo") == "sa"
    assert record.setting("gamma") == 0.8
    assert record.setting("missing", 3) == 3
    assert [row.name for row in record.rows] == ["found", "baseline", "uniform-params", "uniform-macs", "random-params"]
    assert record.rows[0].top1_std == pytest.approx(0.001)
    assert (record.warnings, len(record.told), record.held_out, record.trial_error(0.5)) == ((), 1, None, None)
    assert dataclasses.replace(record, held_out=100).trial_error(0.5) == pytest.approx(0.05)
    assert best_trial(record).id == 6


def test_the_outermost_setting_wins(tmp_path):
    room.create(tmp_path / "run", {"seed": 2}, {"a": {"seed": 1}})
    assert read_record(tmp_path / "run").setting("seed") == 2


def test_damage_is_an_error(runs, tmp_path):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=4)
    lines = (folder / "events.jsonl").read_text().splitlines()
    (folder / "events.jsonl").write_text("\n".join([lines[0], "rubbish", *lines[2:]]))
    with pytest.raises(RunError, match="line 2: it is not JSON"):
        read_record(folder)


def test_failed_trials_are_never_the_best(tmp_path):
    run = room.create(tmp_path / "run", {}, {})
    run.append(TrialEvent(0, Decision({"a": 4}), 1, 1, 0.4, 1.0))
    run.append(ErrorEvent(1, Decision({"a": 8}), "diverged"))
    run.append(ErrorEvent(2, Decision({"a": 9}), "odd", skipped=True))
    run.append(TrialEvent(3, Decision({"a": 6}), 1, 1, 0.3, 1.0))
    record = read_record(run.path)
    assert [trial.id for trial in record.measured] == [0, 3]
    assert [(trial.failed, trial.skipped) for trial in record.trials[1:3]] == [("diverged", ""), ("", "odd")]
    assert best_trial(record).id == 0
    run.append(StateEvent({}, best=Best(Decision({"a": 6}), 3)))
    assert best_trial(read_record(run.path)).id == 3


def test_figures_stand_beside_their_trial(tmp_path):
    run = room.create(tmp_path / "run", {}, {})
    run.append(TrialEvent(0, Decision({"a": 4}), 1, 1, float("nan"), 1.0, metrics={"group_metric": {"a": 0.5}}))
    run.append(StateEvent({}, figures={"0": {"momentum": {"a": 0.25}}}))
    (trial,) = read_record(run.path).trials
    assert (trial.top1, trial.group_metric, trial.momentum, trial.cumulative) == (None, {"a": 0.5}, {"a": 0.25}, {})


def test_shares_as_percentages():
    assert percent([0.5, None, 1.0]) == [50.0, None, 100.0]
    assert percent([]) == []
