from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from chanc.study import rundir
from chanc.study.driver import Task, best_widths, run_trials, trial_seed
from chanc.study.methods.trial.conet import Conet
from chanc.study.methods.trial.greedy import Greedy
from chanc.study.progress import Progress
from chanc.study.rundir import RunDir
from chanc.study.sampler import Sampler
from chanc.testing.engines import MEMBERS, SPACE, FakeEngine


def start(tmp_path: Path, engine: FakeEngine, sampler: Sampler | None = None, **fields: Any) -> tuple[Task, RunDir]:
    if (tmp_path / "config.json").exists():
        run = rundir.resume(tmp_path, {})
    else:
        run = rundir.create(tmp_path, {}, {})
        engine.save({"widths": {"a": 32, "b": 48}, "weight": 0.0}, tmp_path / "input.onnx")
    sampler = sampler or Greedy(trials=4)
    task = Task(sampler, SPACE, engine, MEMBERS, 0, Progress(sampler.trials, 2, quiet=True), **fields)
    return task, run


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "trials.jsonl").read_text().splitlines()]


def test_a_search_of_four_trials(tmp_path: Path) -> None:
    engine = FakeEngine()
    at = run_trials(*start(tmp_path, engine))
    log = lines(tmp_path)
    assert [line["trial"] for line in log] == [0, 1, 2, 3]
    assert log[0]["widths"] == {"a": 16, "b": 16}
    assert log[1]["widths"] == {"a": 32, "b": 32} == log[0]["next"]
    assert log[-1]["next"] is None
    assert at.widths is None
    for line in log:
        first, second = (epoch["metrics"] for epoch in line["epochs"])
        best = [max(first[w][key], second[w][key]) for w, key in (("w0", "out_qc"), ("w1", "in_qc"))]
        assert line["group_metric"]["a"] == pytest.approx(sum(best) / 2)
        assert line["group_metric"]["b"] == max(first["w1"]["out_qc"], second["w1"]["out_qc"])
        assert set(line) == {"trial", "widths", "next", "params", "macs", "top1", "loss", "epochs", "group_metric",
                             "momentum", "cumulative", "state"}  # fmt: skip
    assert json.loads((tmp_path / "best.json").read_text()) == {"trial": 3, "widths": log[3]["widths"]}


def test_weights_go_from_trial_to_trial(tmp_path: Path) -> None:
    engine = FakeEngine()
    run_trials(*start(tmp_path, engine))
    assert [call["fresh"] for call in engine.calls] == [True, False, False, False]
    for trial in (1, 2, 3):
        before = json.loads((tmp_path / f"trials/{trial - 1:03d}/model.onnx").read_text())
        assert engine.calls[trial]["weight"] == before["weight"]
    assert [call["seed"] for call in engine.calls] == [trial_seed(0, trial) for trial in range(4)]
    assert len({call["seed"] for call in engine.calls}) == 4


def test_conet_trains_fresh_weights_each_time(tmp_path: Path) -> None:
    engine = FakeEngine()
    run_trials(*start(tmp_path, engine, Conet(trials=3)))
    assert [(call["fresh"], call["weight"]) for call in engine.calls] == [(True, 0.0)] * 3


def test_start_from_the_models_own_weights(tmp_path: Path) -> None:
    engine = FakeEngine()
    run_trials(*start(tmp_path, engine, fresh_start=False))
    assert not engine.calls[0]["fresh"]


def test_optimizer_state_is_carried_where_asked(tmp_path: Path) -> None:
    engine = FakeEngine()
    run_trials(*start(tmp_path, engine, carry_optimizer=True))
    assert [call["carry_from"] for call in engine.calls] == [
        None, *(tmp_path / f"trials/{trial:03d}/optimizer.json" for trial in range(3))
    ]  # fmt: skip


@pytest.mark.parametrize("kill_at", [0, 1, 3])
def test_killed_and_resumed_is_the_same_search(tmp_path: Path, kill_at: int) -> None:
    calm, cut = tmp_path / "calm", tmp_path / "cut"
    run_trials(*start(calm, FakeEngine()))
    with pytest.raises(KeyboardInterrupt):
        run_trials(*start(cut, FakeEngine(kill_at=kill_at)))
    with open(cut / "trials.jsonl", "a") as handle:
        handle.write('{"trial": ')
    run_trials(*start(cut, FakeEngine()))
    assert (cut / "trials.jsonl").read_bytes() == (calm / "trials.jsonl").read_bytes()
    assert (cut / "trials/003/model.onnx").read_bytes() == (calm / "trials/003/model.onnx").read_bytes()


def test_a_finished_run_resumed_does_nothing(tmp_path: Path) -> None:
    run_trials(*start(tmp_path, FakeEngine()))
    engine = FakeEngine()
    run_trials(*start(tmp_path, engine))
    assert engine.calls == []


def test_failed_trial_is_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    engine = FakeEngine(failing={2: "the loss\nis nan"})
    run_trials(*start(tmp_path, engine))
    log = lines(tmp_path)
    assert log[2]["failed"] == "the loss is nan"
    assert "top1" not in log[2]
    assert log[2]["state"] == log[1]["state"]
    half = {gid: (log[1]["widths"][gid] + log[2]["widths"][gid]) / 2 for gid in ("a", "b")}
    assert all(abs(log[3]["widths"][gid] - half[gid]) <= 2 for gid in half)
    assert engine.calls[3]["weight"] == json.loads((tmp_path / "trials/001/model.onnx").read_text())["weight"]
    assert "top1" in log[3]


def test_first_trial_may_fail(tmp_path: Path) -> None:
    run_trials(*start(tmp_path, FakeEngine(failing={0: "out of memory"})))
    log = lines(tmp_path)
    assert log[1]["widths"] == log[0]["widths"]
    assert "top1" in log[1]
    assert log[2]["widths"] == {"a": 32, "b": 32}


def test_every_trial_fails(tmp_path: Path) -> None:
    task, run = start(tmp_path, FakeEngine(failing=dict.fromkeys(range(4), "no")))
    run_trials(task, run)
    assert best_widths(task, run) is None
    assert [line["failed"] for line in lines(tmp_path)] == ["no"] * 4


def test_illegal_widths_are_skipped(tmp_path: Path) -> None:
    run_trials(*start(tmp_path, FakeEngine(illegal=[{"a": 32, "b": 32}])))
    log = lines(tmp_path)
    assert log[1]["skipped"] == "{'a': 32, 'b': 32} can't be had"
    assert log[2]["widths"] == {"a": 24, "b": 24}


def test_proposals_are_projected_before_they_are_trained(tmp_path: Path) -> None:
    task, run = start(tmp_path, FakeEngine())
    task = dataclasses.replace(task, project=lambda widths: {gid: min(width, 24) for gid, width in widths.items()})
    run_trials(task, run)
    assert all(max(line["widths"].values()) <= 24 for line in lines(tmp_path))


def test_converged_sampler_ends_the_search(tmp_path: Path) -> None:
    sampler = Conet(trials=40, delta=0.2, phi=0.02, gamma=0.05)
    at = run_trials(*start(tmp_path, FakeEngine(), sampler))
    assert at.trial < 40
    assert lines(tmp_path)[-1]["next"] is None
    assert all(rule["frozen"] for rule in at.state["rule"].values())


def test_timing_is_kept_apart(tmp_path: Path) -> None:
    run_trials(*start(tmp_path, FakeEngine()))
    timing = [json.loads(line) for line in (tmp_path / "timing.jsonl").read_text().splitlines()]
    assert [line["trial"] for line in timing] == [0, 1, 2, 3]
    assert set(timing[0]["seconds"]) == {"rewrite", "train", "measure", "save", "write", "report"}
    assert "seconds" not in (tmp_path / "trials.jsonl").read_text()
