from __future__ import annotations

from pathlib import Path

import pytest

from chanc import runs
from chanc.errors import RunError
from chanc.runs import (
    Decision,
    EpochEvent,
    RunDir,
    StartEvent,
    StateEvent,
    Timing,
    Trial,
    TrialEvent,
    VoidEvent,
    read_run,
)
from chanc.runs.fsck import check, mend

SETTINGS = {"algo": "greedy"}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Two trials, with evidence of the second one."""
    run = runs.create(tmp_path / "run", SETTINGS, {}, {"input.onnx": lambda path: path.write_text("model")})
    run.append(StartEvent("greedy", "input.onnx"))
    for number in range(2):
        decision = Decision({"a": 8 + number})
        run.append(StateEvent({"trial": number}, (Trial(number, decision),)))
        run.folder(f"trials/{number:03d}")
        run.model_path(number).write_text(f"model {number}")
        run.evidence_path(number).write_text(f"evidence {number}")
        beside = {f"trials/{number:03d}/evidence.npz": ""} if number else {}
        run.append(TrialEvent(number, decision, 1, 2, 0.5, 1.0, file=f"trials/{number:03d}/model.onnx", beside=beside))
        run.append_timing(Timing(str(number), {"train": 1.0}))
    return run


def bad(path: Path) -> list[tuple[str, str]]:
    return [(one.what, one.state) for one in check(path) if one.state != "ok"]


def test_a_sound_run(run: RunDir) -> None:
    run.evidence_path(0).unlink()
    assert bad(run.path) == []
    assert bad(run.path) == [] == [one for one in mend(run.path) if one.bad]
    assert len(read_run(run.path).log) == 5


def test_an_orphan_and_a_leftover(run: RunDir) -> None:
    (run.path / "trials/001/.chanc-dead.onnx").write_text("half")
    assert bad(run.path) == [("trials/000/evidence.npz", "orphan"), ("trials/001/.chanc-dead.onnx", "leftover")]
    mend(run.path)
    assert bad(run.path) == [("trials/000/evidence.npz", "orphan")]


@pytest.mark.parametrize(
    ("damage", "what", "state"),
    [
        (lambda run: run.model_path(0).write_text("model 1"), "trials/000/model.onnx", "damaged"),
        (lambda run: run.model_path(0).unlink(), "trials/000/model.onnx", "gone"),
        (lambda run: run.evidence_path(1).write_text("evidence 0"), "trials/001/evidence.npz", "damaged"),
    ],
)
def test_a_file_that_is_not_the_events_voids_it(run: RunDir, damage, what: str, state: str) -> None:
    run.evidence_path(0).unlink()
    damage(run)
    assert bad(run.path) == [(what, state)]
    mend(run.path)
    assert {state for _, state in bad(run.path)} <= {"orphan"}
    record = read_run(run.path)
    trial = int(what.split("/")[1])
    assert record.log[-1] == VoidEvent((2 + 2 * trial,))
    assert [event.id for event in record.trials] == [1 - trial]
    assert runs.resume(run.path, SETTINGS).log == list(record.log)


@pytest.mark.parametrize("lost", range(5))
def test_a_damaged_line_is_given_up(run: RunDir, lost: int) -> None:
    run.evidence_path(0).unlink()
    path = run.path / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[lost] = lines[lost].replace(b'"v": 3', b'"v": 2')
    path.write_bytes(b"".join(lines))
    with pytest.raises(RunError, match=rf"line {lost + 1}: its checksum is another one; see `chanc fsck"):
        runs.resume(run.path, SETTINGS)
    mend(run.path)
    assert path.read_bytes().startswith(b"".join(lines))
    record = read_run(run.path)
    assert len(record.log) == 6
    assert set(record.live) == {0, 1, 2, 3, 4} - {lost, *(state for state in (1, 3) if state > lost)}
    assert not [one for one in check(run.path) if one.bad]


@pytest.mark.parametrize(("order", "void"), [
    ((0, 1, 2, 2, 3, 4), (2, 3)), ((0, 1, 3, 4), (2, 3)), ((0, 2, 1, 3, 4), (1, 3)),
])  # fmt: skip
def test_a_line_twice_or_missing_or_out_of_order(run: RunDir, order: tuple[int, ...], void: tuple[int, ...]) -> None:
    path = run.path / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[place] for place in order))
    mend(run.path)
    record = read_run(run.path)
    assert record.log[-1] == VoidEvent(void)
    assert set(record.live) == {0, 1, 2, 3, 4} - set(void)


def test_of_a_training_throughout_the_last_epoch_counts(run: RunDir) -> None:
    run.evidence_path(0).unlink()
    for number in range(3):
        run.folder("supernet")
        (run.path / f"supernet/{number}").write_text(str(number))
        run.append(EpochEvent(number, 1.0, 0.5, file=f"supernet/{number}"))
    (run.path / "supernet/0").unlink()
    assert bad(run.path) == []
    (run.path / "supernet/2").write_text("other")
    assert bad(run.path) == [("supernet/2", "damaged")]
    mend(run.path)
    assert [event.id for event in read_run(run.path).of(EpochEvent)] == [0, 1]
    (run.path / "supernet/1").unlink()
    mend(run.path)
    assert read_run(run.path).of(EpochEvent) == ()
    assert bad(run.path) == []


def test_a_seq_from_far_away_takes_no_memory(run: RunDir) -> None:
    from chanc.runs.events import to_line

    with open(run.path / "events.jsonl", "a") as handle:
        handle.write(to_line(VoidEvent(()), 10**12))
    with pytest.raises(RunError, match="line 6: its seq is 1000000000000 where 5 comes next"):
        read_run(run.path)
    mend(run.path)
    assert len(read_run(run.path).log) == 7


def test_a_damaged_time_is_taken_out_and_damaged_settings_stay(run: RunDir) -> None:
    times, config = run.path / "timing.jsonl", run.path / "config.json"
    whole = times.read_text()
    times.write_text(whole.replace("1.0", "2.0", 1))
    assert ("timing.jsonl line 1", "damaged") in bad(run.path)
    mend(run.path)
    assert times.read_text() == whole.splitlines(keepends=True)[1]
    config.write_text(config.read_text().replace("greedy", "greedz"))
    left = [(one.what, one.why) for one in mend(run.path) if one.bad]
    assert left == [("config.json", "its checksum is another one")]


def test_mending_keeps_out_of_a_run_that_is_at_work(run: RunDir) -> None:
    run.model_path(0).unlink()
    with run.locked(), pytest.raises(RunError, match="another search is at work"):
        mend(run.path)
    assert len(read_run(run.path).log) == 5


def test_what_is_nothing_of_ours(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run directory, no sweep and no checkpoint"):
        check(tmp_path)
    with pytest.raises(RunError, match="does not exist"):
        check(tmp_path / "missing")
