from __future__ import annotations

import json

import pytest

from chanc.errors import RunError
from chanc.report.record import best_trial, percent, read_record


def test_a_whole_run(runs, tmp_path):
    record = read_record(runs.write_run(tmp_path / "run", groups=5, trials=7))
    assert len(record.trials) == 7
    assert len(record.groups) == 5
    assert record.setting("algo") == "sa"
    assert record.setting("gamma") == 0.8
    assert record.setting("missing", 3) == 3
    assert [row["name"] for row in record.rows] == ["baseline", "found", "uniform", "random"]
    assert best_trial(record)["trial"] == 6


def test_the_outermost_setting_wins(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"environment": {"a": {"seed": 1}}, "settings": {"seed": 2}}))
    assert read_record(tmp_path).setting("seed") == 2


def test_a_torn_last_line_is_left_out(runs, tmp_path):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=4)
    with open(folder / "trials.jsonl", "a") as handle:
        handle.write('{"trial": 4, "wid')
    assert len(read_record(folder).trials) == 4


def test_a_damaged_line_is_named(runs, tmp_path):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=4)
    lines = (folder / "trials.jsonl").read_text().splitlines()
    (folder / "trials.jsonl").write_text("\n".join([lines[0], "rubbish", *lines[2:]]))
    with pytest.raises(RunError, match="line 2 is not JSON"):
        read_record(folder)


@pytest.mark.parametrize("name", ["config.json", "comparison.json"])
def test_a_damaged_file_is_named(runs, tmp_path, name):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=4)
    (folder / name).write_text("{")
    with pytest.raises(RunError, match=f"{name} is damaged"):
        read_record(folder)


def test_what_is_no_run(tmp_path):
    with pytest.raises(RunError, match=r"neither config\.json nor trials\.jsonl"):
        read_record(tmp_path)
    with pytest.raises(RunError, match="does not exist"):
        read_record(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="a file"):
        read_record(tmp_path / "file")


def test_failed_trials_are_never_the_best(tmp_path):
    lines = [
        {"trial": 0, "widths": {"a": 4}, "top1": 0.4},
        {"trial": 1, "widths": {"a": 8}, "failed": "diverged"},
        {"trial": 2, "widths": {"a": 6}, "top1": 0.3},
    ]
    (tmp_path / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "best.json").write_text('{"trial": 1}')
    record = read_record(tmp_path)
    assert [trial["trial"] for trial in record.measured] == [0, 2]
    assert best_trial(record)["trial"] == 0


def test_percent_takes_fractions_and_percentages():
    assert percent([0.5, None, 1.0]) == [50.0, None, 100.0]
    assert percent([0.5, 93.1]) == [0.5, 93.1]
    assert percent([]) == []


@pytest.mark.parametrize(
    "stored",
    [
        [{"name": "found", "top1": 0.9}],
        {"rows": [{"name": "found", "top1": 0.9}]},
        {"found": {"top1": 0.9}},
    ],
)
def test_every_form_of_the_comparison(tmp_path, stored):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "comparison.json").write_text(json.dumps(stored))
    assert read_record(tmp_path).rows == ({"name": "found", "top1": 0.9},)
