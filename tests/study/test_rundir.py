from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chanc.errors import RunError
from chanc.study import rundir

SETTINGS = {"algo": "greedy", "options": {"gamma": 0.8, "seed": 0}, "trials": 3}


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = rundir.create(tmp_path / "run", SETTINGS, {"python": "3"})
    run.append({"trial": 0, "loss": 0.1 + 0.2})
    run.append({"trial": 1, "loss": math.nan, "name": "é\n"})
    again = rundir.resume(tmp_path / "run", SETTINGS)
    assert again.trials == [{"trial": 0, "loss": 0.1 + 0.2}, {"trial": 1, "loss": None, "name": "é\n"}]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"] == SETTINGS


def test_torn_last_line_is_dropped_for_good(tmp_path: Path) -> None:
    run = rundir.create(tmp_path, SETTINGS, {})
    run.append({"trial": 0})
    whole = (tmp_path / "trials.jsonl").read_bytes()
    (tmp_path / "trials.jsonl").write_bytes(whole + b'{"trial": 1, "wid')
    assert rundir.resume(tmp_path, SETTINGS).trials == [{"trial": 0}]
    assert (tmp_path / "trials.jsonl").read_bytes() == whole


def test_a_complete_line_that_is_not_json_is_damage(tmp_path: Path) -> None:
    rundir.create(tmp_path, SETTINGS, {}).append({"trial": 0})
    with open(tmp_path / "trials.jsonl", "a") as handle:
        handle.write("oops\n")
    with pytest.raises(RunError, match="line 2 is not a JSON object"):
        rundir.resume(tmp_path, SETTINGS)


def test_missing_trial_is_damage(tmp_path: Path) -> None:
    run = rundir.create(tmp_path, SETTINGS, {})
    run.append({"trial": 1})
    with pytest.raises(RunError, match="not 0, 1, 2"):
        rundir.resume(tmp_path, SETTINGS)


def test_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    rundir.create(tmp_path, SETTINGS, {})
    with pytest.raises(RunError, match="holds a run already: add --resume"):
        rundir.create(tmp_path, SETTINGS, {})


def test_half_line_of_a_running_search_is_left_alone(tmp_path: Path) -> None:
    run = rundir.create(tmp_path, SETTINGS, {})
    run.append({"trial": 0})
    with open(tmp_path / "trials.jsonl", "a") as handle:
        handle.write('{"trial": 1')
    before = (tmp_path / "trials.jsonl").read_bytes()
    with run.locked(), pytest.raises(RunError, match="another search is at work"):
        rundir.resume(tmp_path, SETTINGS)
    assert (tmp_path / "trials.jsonl").read_bytes() == before


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run to resume"):
        rundir.resume(tmp_path / "nowhere", SETTINGS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({**SETTINGS, "trials": 4}, "trials was 3, now it is 4"),
        ({**SETTINGS, "options": {"gamma": 0.5, "seed": 1}}, r"options.gamma was 0.8, now it is 0.5"),
        ({**SETTINGS, "extra": "x"}, 'extra was null, now it is "x"'),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    rundir.create(tmp_path, SETTINGS, {})
    with pytest.raises(RunError, match=message):
        rundir.resume(tmp_path, changed)


def test_settings_compare_as_json(tmp_path: Path) -> None:
    rundir.create(tmp_path, {"betas": (0.9, np.float64(0.5)), "path": Path("a")}, {})
    assert rundir.resume(tmp_path, {"betas": [0.9, 0.5], "path": "a"}).trials == []


def test_folder_below_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"the run directory .*file/run can't be written: Not a directory"):
        rundir.create(tmp_path / "file" / "run", SETTINGS, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="can't be written: Permission denied"):
        rundir.create(tmp_path / "run", SETTINGS, {})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    run = rundir.create(tmp_path, SETTINGS, {})
    (tmp_path / "trials.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunError, match="can't be written: No space left on device"):
        run.append({"trial": 0})
    assert run.trials == []


def test_nothing_is_left_of_a_run_that_could_not_begin(tmp_path: Path) -> None:
    def too_much(path: Path) -> None:
        path.write_text("a part")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.raises(RunError, match="can't be written: No space left on device"):
        rundir.create(tmp_path / "run", SETTINGS, {}, {"input.onnx": too_much})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(RunError):
        rundir.create(tmp_path, SETTINGS, {}, {"input.onnx": too_much})
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_second_process_is_kept_out(tmp_path: Path) -> None:
    run = rundir.create(tmp_path, SETTINGS, {})
    script = (
        "import sys; from pathlib import Path; from chanc.study.rundir import RunDir\n"
        "with RunDir(Path(sys.argv[1])).locked(): print('in')"
    )
    with run.locked():
        out = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
        assert "another search is at work" in out.stderr
    assert subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True).stdout == "in\n"
