from __future__ import annotations

import dataclasses

import pytest

from chanc.report.record import read_record
from chanc.runs import Row


def test_accuracy_against_params(record, plots_of):
    plot = plots_of(record)["final-params"]
    found = next(s for s in plot.series if s.name == "found")
    assert list(found.x) == [5.5]
    assert list(found.y) == [93.42]
    assert found.errors == [pytest.approx(0.1 / 2**0.5, abs=1e-4)]
    assert plot.note == "Error bars: one standard error over n = 2 trainings with other seeds."
    assert len({s.colour for s in plot.series}) == 5


def test_trials_are_single_trainings_on_so_many_images(record, plots_of):
    plot = plots_of(dataclasses.replace(record, held_out=400))["trials-params"]
    top1, error = plot.series[0].y[0] / 100, plot.series[0].errors[0] / 100
    assert error == pytest.approx((top1 * (1 - top1) / 400) ** 0.5, rel=1e-3)
    assert plot.note == "One training each (n = 1). Error bars: the standard error on 400 images."
    assert plots_of(record)["trials-params"].note == "One training each (n = 1)."


def test_several_points_of_one_name_make_a_line(runs, tmp_path, plots_of):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=4)
    rows = [Row("uniform", p, p, t) for p, t in ((3000, 0.9), (1000, 0.7), (2000, 0.8))]
    record = dataclasses.replace(read_record(folder), rows=tuple(rows))
    series = plots_of(record)["final-params"].series
    assert [(list(s.x), list(s.y), s.line) for s in series] == [([1.0, 2.0, 3.0], [70.0, 80.0, 90.0], True)]


def test_published_accuracy_is_drawn_beside_final_trainings_only(runs, tmp_path, plots_of):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=4, settings={"model": "densenet-bc.onnx"})
    plots = plots_of(read_record(folder))
    (published,) = [one for one in plots["final-params"].series if one.name == "published"]
    assert (list(published.x), list(published.y), published.line) == ([0.8, 0.8], [95.49, 95.72], False)
    assert all("CNAS: Channel-level" in label for label in published.labels)
    assert "published" not in [one.name for one in plots["trials-params"].series]
