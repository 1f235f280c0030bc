from __future__ import annotations

import errno
import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chanc import runs
from chanc.errors import RunError
from chanc.runs import Decision, RunDir, StateEvent, Timing, TrialEvent, read_run
from chanc.runs.seal import read_sealed

SETTINGS = {"algo": "greedy", "options": {"gamma": 0.8, "seed": 0}, "trials": 3}


def trial(number: int, **fields: Any) -> TrialEvent:
    return TrialEvent(number, Decision({"a": 8}), **{"params": 1, "macs": 2, "score": 0.1 + 0.2, "loss": 1.0, **fields})


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "run", SETTINGS, {"python": "3"})
    run.append(trial(0))
    run.append(trial(1, loss=math.inf, metrics={"é\n": {"a": 0.5}}))
    again = runs.resume(tmp_path / "run", SETTINGS)
    assert again.log == run.log == [trial(0), trial(1, loss=math.inf, metrics={"é\n": {"a": 0.5}})]
    record = read_run(tmp_path / "run")
    assert (record.settings, record.environment) == (SETTINGS, {"python": "3"})


def test_what_was_appended_is_what_a_resumed_run_reads(tmp_path: Path) -> None:
    run = runs.create(tmp_path, SETTINGS, {})
    run.append(StateEvent({"pair": (1, np.float64(0.5))}))
    assert run.log == runs.resume(tmp_path, SETTINGS).log == [StateEvent({"pair": [1, 0.5]})]


def test_torn_last_line_is_dropped_for_good(tmp_path: Path) -> None:
    run = runs.create(tmp_path, SETTINGS, {})
    run.append(trial(0))
    run.append_timing(Timing("0", {"train": 1.5}))
    whole = [(tmp_path / name).read_bytes() for name in ("events.jsonl", "timing.jsonl")]
    for name, data in zip(("events.jsonl", "timing.jsonl"), whole, strict=True):
        (tmp_path / name).write_bytes(data + b'{"v": 3, "se')
    assert read_run(tmp_path).log == (trial(0),)
    assert runs.resume(tmp_path, SETTINGS).log == [trial(0)]
    assert [(tmp_path / name).read_bytes() for name in ("events.jsonl", "timing.jsonl")] == whole


def test_damage_refuses_the_resume_and_cuts_nothing(tmp_path: Path) -> None:
    runs.create(tmp_path, SETTINGS, {}).append(trial(0))
    with open(tmp_path / "events.jsonl", "a") as handle:
        handle.write("oops\n")
    before = (tmp_path / "events.jsonl").read_bytes()
    with pytest.raises(RunError, match=r"events\.jsonl is damaged: line 2: it is not JSON"):
        runs.resume(tmp_path, SETTINGS)
    assert (tmp_path / "events.jsonl").read_bytes() == before


def test_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    runs.create(tmp_path, SETTINGS, {})
    with pytest.raises(RunError, match="holds a run already: add --resume"):
        runs.create(tmp_path, SETTINGS, {})


def test_half_line_of_a_running_search_is_left_alone(tmp_path: Path) -> None:
    run = runs.create(tmp_path, SETTINGS, {})
    run.append(trial(0))
    with open(tmp_path / "events.jsonl", "a") as handle:
        handle.write('{"v": 3')
    before = (tmp_path / "events.jsonl").read_bytes()
    with run.locked(), pytest.raises(RunError, match="another search is at work"):
        runs.resume(tmp_path, SETTINGS)
    assert (tmp_path / "events.jsonl").read_bytes() == before


def test_temporary_files_of_a_running_search_are_left_alone(tmp_path: Path) -> None:
    run = runs.create(tmp_path, SETTINGS, {})
    with run.locked():
        (tmp_path / ".chanc-0123.json").write_text("half")
        with pytest.raises(RunError, match="another search is at work"):
            runs.resume(tmp_path, SETTINGS)
        assert (tmp_path / ".chanc-0123.json").exists()
    with run.locked():
        assert not (tmp_path / ".chanc-0123.json").exists()


def test_an_events_file_is_there_before_its_line(tmp_path: Path) -> None:
    run = runs.create(tmp_path, SETTINGS, {})
    with pytest.raises(RunError, match="No such file"):
        run.append(trial(0, file="model.onnx"))
    assert not (tmp_path / "events.jsonl").exists()
    (tmp_path / "model.onnx").write_text("abc")
    run.append(trial(0, file="model.onnx"))
    assert run.record.trials[0].sha256 == hashlib.sha256(b"abc").hexdigest()


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run to resume"):
        runs.resume(tmp_path / "nowhere", SETTINGS)


@pytest.mark.parametrize("files", [
    {"config.json": '{"format": 1, "settings": {}}'}, {"config.json": '{"format": 2}'}, {"trials.jsonl": ""},
])  # fmt: skip
def test_runs_of_an_older_chanc_are_refused_in_one_line(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for read in (read_run, lambda path: runs.resume(path, {})):
        with pytest.raises(RunError, match=r"^\S+ was made by an older chanc: .*$"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({**SETTINGS, "trials": 2}, r"was made with 3 trials: it can have more of them, not 2"),
        ({**SETTINGS, "trials": 4, "algo": "sa"}, 'algo was "greedy", now it is "sa"'),
        ({**SETTINGS, "options": {"gamma": 0.5, "seed": 1}}, r"options.gamma was 0.8, now it is 0.5"),
        ({**SETTINGS, "extra": "x"}, 'extra was null, now it is "x"'),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    runs.create(tmp_path, SETTINGS, {})
    with pytest.raises(RunError, match=message):
        runs.resume(tmp_path, changed)


def test_a_run_can_be_lengthened_and_keeps_what_it_goes_on_with(tmp_path: Path) -> None:
    runs.create(tmp_path, SETTINGS, {"threads": 2}, asked={"trials": 3, "lr": 0.1})
    runs.resume(tmp_path, SETTINGS)
    assert read_run(tmp_path).asked == {"trials": 3, "lr": 0.1}
    runs.resume(tmp_path, {**SETTINGS, "trials": 5}, {"trials": 5, "lr": 0.1})
    record = read_run(tmp_path)
    assert (record.settings["trials"], record.asked) == (5, {"trials": 5, "lr": 0.1})
    assert record.environment == {"threads": 2}
    with pytest.raises(RunError, match="was made with 5 trials"):
        runs.resume(tmp_path, SETTINGS)


def test_settings_compare_as_json(tmp_path: Path) -> None:
    runs.create(tmp_path, {"betas": (0.9, np.float64(0.5)), "path": Path("a")}, {})
    assert runs.resume(tmp_path, {"betas": [0.9, 0.5], "path": "a"}).log == []


def test_folder_below_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"the run directory .*file/run can't be written: Not a directory"):
        runs.create(tmp_path / "file" / "run", SETTINGS, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="can't be written: Permission denied"):
        runs.create(tmp_path / "run", SETTINGS, {})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    run = runs.create(tmp_path, SETTINGS, {})
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunError, match="can't be written: No space left on device"):
        run.append(trial(0))
    assert run.log == []


def test_nothing_is_left_of_a_run_that_could_not_begin(tmp_path: Path) -> None:
    def too_much(path: Path) -> None:
        path.write_text("a part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.raises(RunError, match="can't be written: No space left on device"):
        runs.create(tmp_path / "run", SETTINGS, {}, {"input.onnx": too_much})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(RunError):
        runs.create(tmp_path, SETTINGS, {}, {"input.onnx": too_much})
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_second_process_is_kept_out(tmp_path: Path) -> None:
    run = runs.create(tmp_path, SETTINGS, {})
    script = (
        "import sys; from pathlib import Path; from chanc.runs import RunDir\n"
        "with RunDir(Path(sys.argv[1])).locked(): print('in')"
    )
    with run.locked():
        out = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
        assert "another search is at work" in out.stderr
    assert subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True).stdout == "in\n"


def test_a_run_that_another_process_went_on_with_is_not_written_to(tmp_path: Path) -> None:
    first, second = runs.create(tmp_path, SETTINGS, {}), RunDir(tmp_path)
    with first.owned():
        first.append(trial(0))
    with pytest.raises(RunError, match="another search has gone on with this run meanwhile"), second.owned():
        pass
    with second.locked():
        pass


def test_what_is_handed_over_is_vouched_for(tmp_path: Path) -> None:
    run = runs.create(tmp_path, SETTINGS, {})
    for text in ("a", "b"):
        with run.vouched(["best.onnx", "none.onnx"]):
            assert not (tmp_path / "made.json").exists()
            (tmp_path / "best.onnx").write_text(text)
        assert read_sealed(tmp_path / "made.json") == {"best.onnx": hashlib.sha256(text.encode()).hexdigest()}
