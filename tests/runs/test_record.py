from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chanc import runs
from chanc.errors import RunError
from chanc.runs import (
    Best,
    Decision,
    ErrorEvent,
    FinalEvent,
    Row,
    RunDir,
    StateEvent,
    Timing,
    TrialEvent,
    VoidEvent,
    best,
    check_files,
    final_rows,
    read_run,
)
from chanc.runs.seal import seal

WIDTHS = Decision({"a": 8})


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Two trials, one that failed, and states that name the best."""
    made = runs.create(tmp_path / "run", {"algo": "greedy"}, {"model": "m.onnx"})
    made.append(StateEvent({}))
    for number in (0, 1):
        made.folder(f"trials/{number:03d}")
        made.model_path(number).write_text(f"model {number}")
        made.append(TrialEvent(number, WIDTHS, 10, 20, 0.5, 1.0, file=f"trials/{number:03d}/model.onnx"))
    made.append(ErrorEvent(2, WIDTHS, "diverged"))
    made.append(StateEvent({}, best=Best(WIDTHS, 1)))
    return made


def final(name: str, turn: int, score: float) -> FinalEvent:
    return FinalEvent(f"{name}-{turn}", WIDTHS, {"epochs": 1}, turn, 100, 200, score, 1.0)


def test_what_a_run_says(run: RunDir) -> None:
    record = read_run(run.path)
    assert record.settings == {"algo": "greedy"}
    assert record.environment == {"model": "m.onnx"}
    assert [event.id for event in record.outcomes] == [0, 1, 2]
    assert [event.id for event in record.trials] == [0, 1]
    assert best(record) == Best(WIDTHS, 1)
    assert record.events == run.record.events


def test_a_void_event_cancels_earlier_ones(run: RunDir) -> None:
    run.append(VoidEvent((2, 4)))
    record = read_run(run.path)
    assert [event.id for event in record.outcomes] == [0, 2]
    assert best(record) is None
    assert len(record.log) == 6
    assert list(record.live) == [0, 1, 3]


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    runs.create(tmp_path / "run", {}, {})
    record = read_run(tmp_path / "run")
    assert (record.events, record.timing, best(record), final_rows(record)) == ((), (), None, [])


def test_a_file_that_was_changed_is_named_with_its_line(run: RunDir) -> None:
    check_files(read_run(run.path))
    path = run.model_path(1)
    path.write_text("model 0")
    with pytest.raises(RunError, match=r"^\S*001/model\.onnx is damaged: its checksum is not that of line 3 of events"):
        check_files(read_run(run.path))
    run.append(VoidEvent((2,)))
    check_files(read_run(run.path))


def test_a_file_that_is_gone_is_no_damage(run: RunDir) -> None:
    run.model_path(0).unlink()
    check_files(read_run(run.path))


@pytest.mark.parametrize(("old", "new", "why"), [
    ('"score": 0.5', '"score": 0.6', "its checksum is another one"),
    ('"seq": 1', '"seq": 9', "its checksum is another one"),
    ('{"v": 3, "seq": 1', 'v": 3, "seq": 1', "it is not JSON"),
])  # fmt: skip
def test_a_damaged_line_is_named(run: RunDir, old: str, new: str, why: str) -> None:
    path = run.path / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[1]
    path.write_text("".join([lines[0], lines[1].replace(old, new), *lines[2:]]))
    with pytest.raises(RunError, match=rf"^\S*events\.jsonl is damaged: line 2: {why}; see `chanc fsck \S+`$"):
        read_run(run.path)


def test_a_line_that_is_missing_or_doubled_is_named(run: RunDir) -> None:
    path = run.path / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    missing = "line 2: its seq is 2, and 1 is missing before it"
    for order, why in (([0, 2, 3], missing), ([0, 1, 1], "line 3: its seq is 1, which an earlier line has")):
        path.write_text("".join(lines[place] for place in order))
        with pytest.raises(RunError, match=why):
            read_run(run.path)


def test_a_torn_last_line_is_left_out_and_left_there(run: RunDir) -> None:
    path = run.path / "events.jsonl"
    data = path.read_bytes()
    for cut in (1, 30):
        path.write_bytes(data[:-cut])
        assert len(read_run(run.path).log) == 4
        assert path.read_bytes() == data[:-cut]


def test_damaged_times_are_named(run: RunDir) -> None:
    lines = [json.dumps(seal({"id": "0", "seconds": {"train": 1.5}})), json.dumps(seal({"id": 1}))]
    (run.path / "timing.jsonl").write_text("".join(line + "\n" for line in lines))
    with pytest.raises(RunError, match=r"timing\.jsonl is damaged: line 2: id is no str"):
        read_run(run.path)


@pytest.mark.parametrize(("text", "why"), [
    ("{", "it is not JSON"), ("[]", "format 3"), ('{"format": 7}', "format 3"),
    ('{"format": 3}', "its checksum is another one"),
])  # fmt: skip
def test_a_damaged_config_is_named(run: RunDir, text: str, why: str) -> None:
    (run.path / "config.json").write_text(text)
    with pytest.raises(RunError, match=rf"config\.json is damaged: .*{why}"):
        read_run(run.path)


def test_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, why in ((".", "it holds no config.json"), ("missing", "it does not exist"), ("file", "a file")):
        with pytest.raises(RunError, match=f"is not a run directory: {why}"):
            read_run(tmp_path / name)


def test_rows_are_the_means_of_the_final_trainings(run: RunDir) -> None:
    for name, turn, score in (("found", 0, 0.5), ("found", 1, 0.7), ("baseline", 0, 0.25)):
        run.append(final(name, turn, score))
    for seconds in (0.5, 0.25):
        run.append_timing(Timing("found", latency_s=seconds))
    found, baseline = final_rows(read_run(run.path))
    scores = {"0": 0.5, "1": 0.7}
    assert found == Row("found", 100, 200, pytest.approx(0.6), pytest.approx(0.2 / 2**0.5), 0.25, {"a": 8}, "", scores)
    assert baseline == Row("baseline", 100, 200, 0.25, widths={"a": 8}, scores={"0": 0.25})


def test_reading_a_run_loads_nothing_heavy() -> None:
    script = "import sys, chanc.runs; print([m for m in ('torch', 'onnx', 'onnx_ir', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
