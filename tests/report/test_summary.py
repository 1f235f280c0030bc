from __future__ import annotations

import json

import pytest

from chanc.report.record import read_record
from chanc.report.summary import comparison, row_cells, top1, verdict


def rows(found, uniform, params=1000, spread=None):
    extra = {"top1_std": spread} if spread else {}
    return [
        {"name": "found", "params": params, "top1": found, **extra},
        {"name": "uniform", "params": 1000, "top1": uniform},
    ]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (rows(0.9, 0.88), "Found widths beat uniform by 2.00 percentage points at equal params."),
        (rows(0.88, 0.9), "Found widths do not beat uniform: 2.00 percentage points lower at equal params."),
        (rows(0.9, 0.9), "Found widths are on a par with uniform at equal params."),
        (
            rows(0.9, 0.88, params=500),
            "Found widths beat uniform by 2.00 percentage points with 0.50 times its params.",
        ),
        (
            rows(0.9, 0.89, spread=0.02),
            "Found widths beat uniform by 1.00 percentage points (within the spread of 2.00) at equal params.",
        ),
        (
            rows(0.89, 0.9, spread=0.02),
            "Found widths do not beat uniform: 1.00 percentage points lower (within the spread of 2.00) "
            "at equal params.",
        ),
    ],
)
def test_the_verdict_is_honest(given, sentence):
    assert verdict(given) == [sentence]


def test_no_verdict_without_found_or_without_accuracy():
    assert verdict([{"name": "baseline", "top1": 0.9}]) == []
    assert verdict([{"name": "found", "top1": None}, {"name": "uniform", "top1": 0.3}]) == []
    assert verdict([{"name": "found", "top1": 0.4}, {"name": "uniform"}]) == []


def test_cells(runs):
    given = runs.comparison_rows()
    assert row_cells(given[1], given) == [
        "found",
        "5,500,000",
        "402,000,000",
        "93.42 ± 0.10",
        "11.20",
        "0.258",
        "0.347",
    ]
    assert len(row_cells(None)) == len(row_cells({}))
    assert top1({"top1": 93.1}) == 93.1


def test_the_originals_costs_stand_beside_the_trials(runs, tmp_path):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=1, final=False)
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["graph"] = {"params": 5000, "macs": 70000, "sha256": "0"}
    (folder / "config.json").write_text(json.dumps(config))
    found, _ = comparison(read_record(folder))
    assert [row["name"] for row in found] == ["baseline", "best (trial 0)"]
    assert row_cells(found[0], found) == ["baseline", "5,000", "70,000", "–", "–", "1.000", "1.000"]


def test_without_final_training_the_trials_are_compared_and_it_says_so(runs, tmp_path):
    record = read_record(runs.write_run(tmp_path / "run", groups=3, trials=9, final=False))
    found, note = comparison(record)
    best = max(record.trials, key=lambda trial: trial["top1"])
    assert [row["name"] for row in found] == ["start (trial 0)", f"best (trial {best['trial']})"]
    assert "no final training" in note
