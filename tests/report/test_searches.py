from __future__ import annotations

import pytest

from chanc.report.pareto import pareto_section, read_runs
from chanc.report.record import read_record
from chanc.report.searches import Amount, search_rows


def test_a_mean_with_its_error_and_a_ratio():
    first, second = Amount.of([3.0, 5.0]), Amount.of([1.0, 3.0])
    assert (first.mean, first.error) == (4.0, 1.0)
    assert Amount.of([2.0]) == Amount(2.0)
    assert Amount.of([]) is None
    assert first.over(second).mean == 2.0
    assert first.over(second).error == pytest.approx(2 * (1 / 16 + 1 / 4) ** 0.5)
    assert first.over(Amount(2.0)) == Amount(2.0)


def test_searches_that_differ_in_their_seed_are_one_row(runs, tmp_path):
    make = runs.write_masked_run
    records = [read_record(folder) for folder in (
        make(tmp_path / "a", epochs=2, seed=0), make(tmp_path / "b", epochs=2, seed=2),
        make(tmp_path / "c", epochs=2, algo="dmask", seed=1),
        make(tmp_path / "d", epochs=4, seed=0), runs.write_run(tmp_path / "e", groups=2, trials=2),
    )]  # fmt: skip
    rows = search_rows(records, list("abcde"))
    assert rows == [
        ["flexcharts (a)", "2", "2", "63.0 ± 2.0", "901 ± 0", "8e+13 ± 0", "1.00 ± 0.04", "1.00 ± 0.00"],
        ["dmask", "1", "2", "63.0", "901", "8e+13", "1.00", "1.00"],
        ["flexcharts (d)", "1", "4", "122.0", "903", "1.6e+14", "1.94", "1.00"],
    ]
    assert search_rows(records[-1:], ["e"]) == []


def test_baselines_of_several_models_are_told_apart(runs, tmp_path):
    folders = [runs.write_run(tmp_path / model, groups=2, trials=2, settings={"model": f"{model}.onnx"})
               for model in ("wrn22-1", "wrn22-2")]  # fmt: skip
    series = {one.name: one for one in pareto_section(read_runs(folders)).plots[1].series}
    assert [name for name in series if name.startswith("baseline")] == ["baseline wrn22-1", "baseline wrn22-2"]
    assert len({one.colour for name, one in series.items() if name.startswith("baseline")}) == 2
