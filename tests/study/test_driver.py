from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from chanc import runs
from chanc.errors import RunError
from chanc.runs import (
    Best,
    Decision,
    Epoch,
    ErrorEvent,
    RunDir,
    StateEvent,
    TrialEvent,
    VoidEvent,
    best,
    read_run,
)
from chanc.study import driver
from chanc.study.driver import Task, run_method, trial_seed
from chanc.study.methods.sampler import Sampler
from chanc.study.methods.trial.conet import Conet
from chanc.study.methods.trial.greedy import Greedy
from chanc.study.outcome import stop
from chanc.study.progress import Progress, TimeUp
from chanc.testing.engines import MEMBERS, SPACE, FakeEngine, toy


def start(tmp_path: Path, engine: FakeEngine, sampler: Sampler | None = None, **fields: Any) -> tuple[Task, RunDir]:
    if (tmp_path / "config.json").exists():
        run = runs.resume(tmp_path, {})
    else:
        run = runs.create(tmp_path, {}, {})
        engine.save(toy({"a": 32, "b": 48}), tmp_path / "input.onnx")
    sampler = sampler or Greedy(trials=4)
    progress = Progress(sampler.trials, 2, quiet=True)
    task = Task(sampler.name, sampler, SPACE, engine, MEMBERS, 0, progress, **fields)
    return task, run


def outcomes(path: Path) -> tuple[TrialEvent | ErrorEvent, ...]:
    return read_run(path).outcomes


def measured(path: Path) -> tuple[TrialEvent, ...]:
    return read_run(path).trials


def test_a_search_of_four_trials(tmp_path: Path) -> None:
    run_method(*start(tmp_path, FakeEngine()))
    record = read_run(tmp_path)
    log, states = record.trials, record.of(StateEvent)
    assert [event.kind for event in record.events] == ["start", "state", *["trial", "state"] * 4]
    assert [event.id for event in log] == [0, 1, 2, 3]
    assert log[0].decision.widths == {"a": 16, "b": 16}
    assert log[1].decision.widths == {"a": 32, "b": 32}
    assert [[trial.decision for trial in state.asked] for state in states] == [*([one.decision] for one in log), []]
    assert states[2].figures["1"]["momentum"] == states[2].state["own"]["momentum"]
    for event in log:
        first, second = (epoch.metrics for epoch in event.epochs)
        best_of = [max(first[w][key], second[w][key]) for w, key in (("w0", "out_qc"), ("w1", "in_qc"))]
        assert event.metrics["group_metric"]["a"] == pytest.approx(sum(best_of) / 2)
        assert event.metrics["group_metric"]["b"] == max(first["w1"]["out_qc"], second["w1"]["out_qc"])
        assert event.params == SPACE.count(event.decision.widths, "params")
    found = best(record)
    assert found is not None
    assert (found.trial, found.decision) == (3, log[3].decision)


def test_weights_go_from_trial_to_trial(tmp_path: Path) -> None:
    engine = FakeEngine()
    run_method(*start(tmp_path, engine))
    assert [call["fresh"] for call in engine.calls] == [True, False, False, False]
    for trial in (1, 2, 3):
        before = json.loads((tmp_path / f"trials/{trial - 1:03d}/model.onnx").read_text())
        assert engine.calls[trial]["weight"] == before["weight"]
    assert [call["seed"] for call in engine.calls] == [trial_seed(0, trial) for trial in range(4)]
    assert len({call["seed"] for call in engine.calls}) == 4


def test_conet_trains_fresh_weights_each_time(tmp_path: Path) -> None:
    engine = FakeEngine()
    run_method(*start(tmp_path, engine, Conet(trials=3)))
    assert [(call["fresh"], call["weight"]) for call in engine.calls] == [(True, 0.0)] * 3


def test_start_from_the_models_own_weights(tmp_path: Path) -> None:
    engine = FakeEngine()
    run_method(*start(tmp_path, engine, fresh_start=False))
    assert not engine.calls[0]["fresh"]


def test_optimizer_state_is_carried_where_asked(tmp_path: Path) -> None:
    engine = FakeEngine()
    run_method(*start(tmp_path, engine, carry_optimizer=True))
    assert [call["carry_from"] for call in engine.calls] == [
        None, *(tmp_path / f"trials/{trial:03d}/optimizer.json" for trial in range(3))
    ]  # fmt: skip


@pytest.mark.parametrize("lines", range(1, 11))
def test_killed_after_any_line_it_goes_on_to_the_same_events(tmp_path: Path, lines: int) -> None:
    run_method(*start(tmp_path, FakeEngine(failing={1: "no luck"})))
    whole = (tmp_path / "events.jsonl").read_bytes()
    assert whole.count(b"\n") == 10
    (tmp_path / "events.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]))
    done = sum(event.kind in ("trial", "error") for event in read_run(tmp_path).events)
    run_method(*start(tmp_path, FakeEngine(failing={1 - done: "no luck"})))
    assert (tmp_path / "events.jsonl").read_bytes() == whole


@pytest.mark.parametrize("kill_at", [0, 1, 3])
def test_killed_and_resumed_is_the_same_search(tmp_path: Path, kill_at: int) -> None:
    calm, cut = tmp_path / "calm", tmp_path / "cut"
    run_method(*start(calm, FakeEngine()))
    with pytest.raises(KeyboardInterrupt):
        run_method(*start(cut, FakeEngine(kill_at=kill_at)))
    with open(cut / "events.jsonl", "a") as handle:
        handle.write('{"v": 2, ')
    run_method(*start(cut, FakeEngine()))
    assert (cut / "events.jsonl").read_bytes() == (calm / "events.jsonl").read_bytes()
    assert (cut / "trials/003/model.onnx").read_bytes() == (calm / "trials/003/model.onnx").read_bytes()


def test_what_a_killed_writer_left_goes_when_the_run_goes_on(tmp_path: Path) -> None:
    run_method(*start(tmp_path, FakeEngine()))
    (tmp_path / "final").mkdir()
    left = [tmp_path / name for name in (".chanc-0a.json", "trials/002/.chanc-1b.onnx", "final/.chanc-2c")]
    for path in left:
        path.write_text("half")
    mine = tmp_path / "trials/002/.mine"
    mine.write_text("keep")
    start(tmp_path, FakeEngine())
    assert not any(path.exists() for path in left)
    assert mine.exists()


def test_a_flipped_byte_in_a_trials_model_is_named(tmp_path: Path) -> None:
    run_method(*start(tmp_path, FakeEngine()))
    model = tmp_path / "trials/002/model.onnx"
    data = bytearray(model.read_bytes())
    data[5] ^= 1
    model.write_bytes(data)
    with pytest.raises(RunError, match=r"002/model\.onnx is damaged: its checksum is not that of line 7"):
        start(tmp_path, FakeEngine())


def test_cancelled_trials_are_trained_again(tmp_path: Path) -> None:
    task, run = start(tmp_path, FakeEngine())
    run_method(task, run)
    before = measured(tmp_path)
    run.append(VoidEvent(tuple(range(6, 10))))
    engine = FakeEngine()
    run_method(*start(tmp_path, engine))
    assert len(engine.calls) == 2
    assert measured(tmp_path) == before


def test_a_finished_run_resumed_does_nothing(tmp_path: Path) -> None:
    run_method(*start(tmp_path, FakeEngine()))
    engine = FakeEngine()
    run_method(*start(tmp_path, engine))
    assert engine.calls == []


def test_failed_trial_is_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    engine = FakeEngine(failing={2: "the loss\nis nan"})
    run_method(*start(tmp_path, engine))
    log, states = outcomes(tmp_path), read_run(tmp_path).of(StateEvent)
    assert log[2] == ErrorEvent(2, log[2].decision, "the loss is nan")
    assert states[3].state["own"] == states[2].state["own"]
    widths = [event.decision.widths for event in log]
    half = {gid: (widths[1][gid] + widths[2][gid]) / 2 for gid in ("a", "b")}
    assert all(abs(widths[3][gid] - half[gid]) <= 2 for gid in half)
    assert engine.calls[3]["weight"] == json.loads((tmp_path / "trials/001/model.onnx").read_text())["weight"]
    assert isinstance(log[3], TrialEvent)


def test_first_trial_may_fail(tmp_path: Path) -> None:
    run_method(*start(tmp_path, FakeEngine(failing={0: "out of memory"})))
    log = outcomes(tmp_path)
    assert log[1].decision == log[0].decision
    assert isinstance(log[1], TrialEvent)
    assert log[2].decision.widths == {"a": 32, "b": 32}


def test_every_trial_fails(tmp_path: Path) -> None:
    task, run = start(tmp_path, FakeEngine(failing=dict.fromkeys(range(4), "no")))
    run_method(task, run)
    assert best(read_run(tmp_path)) is None
    assert [event.reason for event in read_run(tmp_path).of(ErrorEvent)] == ["no"] * 4


def test_illegal_widths_are_skipped(tmp_path: Path) -> None:
    run_method(*start(tmp_path, FakeEngine(illegal=[{"a": 32, "b": 32}])))
    log = outcomes(tmp_path)
    assert log[1] == ErrorEvent(1, log[1].decision, "{'a': 32, 'b': 32} can't be had", skipped=True)
    assert log[2].decision.widths == {"a": 24, "b": 24}


def test_proposals_are_projected_before_they_are_trained(tmp_path: Path) -> None:
    task, run = start(tmp_path, FakeEngine())
    task = dataclasses.replace(task, project=lambda widths: {gid: min(width, 24) for gid, width in widths.items()})
    run_method(task, run)
    assert all(max(event.decision.widths.values()) <= 24 for event in measured(tmp_path))


def test_converged_sampler_ends_the_search(tmp_path: Path) -> None:
    sampler = Conet(trials=40, delta=0.2, phi=0.02, gamma=0.05)
    run_method(*start(tmp_path, FakeEngine(), sampler))
    last = read_run(tmp_path).of(StateEvent)[-1]
    assert len(measured(tmp_path)) < 40
    assert last.asked == ()
    assert all(rule["frozen"] for rule in last.state["own"]["rule"].values())


def test_timing_is_kept_apart(tmp_path: Path) -> None:
    run_method(*start(tmp_path, FakeEngine()))
    timing = read_run(tmp_path).timing
    assert [line.id for line in timing] == ["0", "1", "2", "3"]
    assert set(timing[0].seconds) == {"rewrite", "prepare", "train", "measure", "save", "write", "report"}
    assert "seconds" not in (tmp_path / "events.jsonl").read_text()


@pytest.mark.parametrize("by", ["metric", "loss", "score"])
def test_the_best_trial_is_the_one_that_is_asked_for(tmp_path: Path, by: Any) -> None:
    run_method(*start(tmp_path, FakeEngine(), select_by=by))
    found, done = best(read_run(tmp_path)), measured(tmp_path)
    assert found is not None
    rank = {"loss": lambda event: -event.loss, "score": lambda event: event.score, "metric": lambda event: event.id}[by]
    expected = max(done, key=rank)  # before its sixth trial the method takes the last one
    assert (found.trial, found.decision) == (expected.id, expected.decision)


def test_of_trials_the_longest_are_compared(tmp_path: Path) -> None:
    def event(number: int, score: float, epochs: int) -> TrialEvent:
        done = tuple(Epoch(epoch, 1.0, score) for epoch in range(epochs))
        return TrialEvent(number, Decision({"a": number}), 1, 1, score, 1 - score, done)

    trials = [event(0, 0.9, 1), event(1, 0.5, 2), event(2, 0.6, 2)]
    for by in ("score", "loss"):
        assert driver._best_trained(trials, by) == Best(Decision({"a": 2}), 2)


def test_a_search_that_is_out_of_time_starts_no_trial(tmp_path: Path) -> None:
    calm, cut = tmp_path / "calm", tmp_path / "cut"
    run_method(*start(calm, FakeEngine()))
    task, run = start(cut, FakeEngine())
    task = dataclasses.replace(task, after_trial=lambda: setattr(task.progress, "deadline", 0.0))
    with pytest.raises(TimeUp):
        run_method(task, run)
    assert len(measured(cut)) == 1
    stopped = stop(task, FakeEngine(), run)
    assert (stopped.stopped, len(stopped.trials), stopped.trial) == (True, 1, 0)
    assert stopped.model.read_bytes() == (cut / "trials/000/model.onnx").read_bytes()
    run_method(*start(cut, FakeEngine()))
    assert (cut / "events.jsonl").read_bytes() == (calm / "events.jsonl").read_bytes()


def test_a_search_is_lengthened_from_where_it_ended(tmp_path: Path) -> None:
    run_method(*start(tmp_path / "short", FakeEngine(), Greedy(trials=3)))
    run_method(*start(tmp_path / "short", FakeEngine(), Greedy(trials=5)))
    run_method(*start(tmp_path / "long", FakeEngine(), Greedy(trials=5)))
    assert measured(tmp_path / "short") == measured(tmp_path / "long")
    assert best(read_run(tmp_path / "short")) == best(read_run(tmp_path / "long"))
