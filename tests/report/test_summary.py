from __future__ import annotations

from chanc.report.record import read_record
from chanc.report.summary import COLUMNS, comparison, row_cells
from chanc.runs import Row


def test_cells(runs, tmp_path):
    given = read_record(runs.write_run(tmp_path / "run", groups=3, trials=2)).rows
    assert row_cells(given[0], given) == [
        "found",
        "5,500,000",
        "402,000,000",
        "93.42 ± 0.07",
        "2",
        "–",
        "11.20",
        "0.258",
        "0.347",
    ]
    assert row_cells(given[2], given)[4:6] == ["2", "can't tell: +0.61 ± 0.14"]
    assert row_cells(Row("x"), given) == ["x", *["–"] * (len(COLUMNS) - 1)]


def test_the_originals_costs_stand_beside_the_trials(runs, tmp_path):
    graph = {"params": 5000, "macs": 70000, "sha256": "0"}
    folder = runs.write_run(tmp_path / "run", groups=3, trials=1, final=False, settings={"graph": graph})
    found, _ = comparison(read_record(folder))
    assert [row.name for row in found] == ["baseline", "best (trial 0)"]
    assert row_cells(found[0], found) == ["baseline", "5,000", "70,000", *["–"] * 4, "1.000", "1.000"]


def test_without_final_training_the_trials_are_compared_and_it_says_so(runs, tmp_path):
    record = read_record(runs.write_run(tmp_path / "run", groups=3, trials=9, final=False))
    found, note = comparison(record)
    best = max(record.trials, key=lambda trial: trial.top1)
    assert [row.name for row in found] == ["start (trial 0)", f"best (trial {best.id})"]
    assert "no final training" in note
