from __future__ import annotations

import json
import statistics

import pytest

from chanc.report.sections.axes import axes_section
from chanc.report.sweep import read_sweep
from chanc.runs.seal import seal


def plots(sweep):
    section = axes_section(read_sweep(sweep))
    return {} if section is None else {plot.id: plot for plot in section.plots}


def test_a_line_a_method_a_point_a_value_with_its_seeds(sweep):
    found = plots(sweep)
    assert list(found) == ["axis-gamma-top1", "axis-gamma-params", "axis-gamma-macs"]
    lines = {line.name: line for line in found["axis-gamma-top1"].series}
    assert list(lines) == ["greedy", "sa"]
    assert [list(line.x) for line in lines.values()] == [[0.0, 0.5, 0.8]] * 2
    cells = [json.loads(path.read_text()) for path in sweep.glob("greedy-gamma0.5-*/cell.json")]
    tops = [100 * cell["rows"]["found"]["top1"] for cell in cells]
    assert lines["greedy"].y[1] == pytest.approx(statistics.fmean(tops))
    assert lines["greedy"].errors[1] == pytest.approx(statistics.stdev(tops) / 3**0.5)
    assert list(lines["sa"].labels) == ["n = 3", "n = 3", "n = 2"]
    assert found["axis-gamma-top1"].note == "Error bars: one standard error over n = 2 to 3 trainings with other seeds."
    assert list(found["axis-gamma-params"].series[0].y) == pytest.approx([0.6, 1.6, 2.2])
    assert found["axis-gamma-params"].y.text == "parameters (millions)"


def test_another_axis_makes_other_lines_and_words_are_numbered(sweep):
    for path in sweep.glob("*/cell.json"):
        cell = json.loads(path.read_text())
        cell["settings"] = {"transfer": "svd" if cell["gamma"] > 0.6 else "grow"}
        cell["lr"] = {0.0: 0.001, 0.5: 0.1, 0.8: 0.1}[cell.pop("gamma")]
        path.write_text(json.dumps(seal(cell)))
    found = plots(sweep)
    assert {name.rpartition("-")[0] for name in found} == {"axis-transfer", "axis-lr"}
    assert [line.name for line in found["axis-transfer-top1"].series] == [
        "greedy, lr 0.001", "greedy, lr 0.1", "sa, lr 0.001", "sa, lr 0.1"
    ]  # fmt: skip
    assert found["axis-transfer-top1"].x.text == "transfer: 1 is grow, 2 is svd"
    assert [list(line.x) for line in found["axis-transfer-top1"].series] == [[1.0], [1.0, 2.0]] * 2
    assert found["axis-lr-top1"].x.log


def test_what_is_alike_everywhere_is_neither_said_nor_drawn(sweep):
    for path in sweep.glob("*/cell.json"):
        cell = json.loads(path.read_text())
        cell["start_width"] = 16
        cell["rows"]["found"]["params"] = 1000
        path.write_text(json.dumps(seal(cell)))
    found = plots(sweep)
    assert list(found) == ["axis-gamma-top1", "axis-gamma-macs"]
    assert [line.name for line in found["axis-gamma-macs"].series] == ["greedy", "sa"]


def test_without_final_trainings_the_best_trial_speaks(sweep):
    for path in sweep.glob("*/cell.json"):
        cell = json.loads(path.read_text())
        cell["rows"] = {"found": {"params": 7, "macs": 70, "top1": 0.1}}
        path.write_text(json.dumps(seal(cell)))
    plot = plots(sweep)["axis-gamma-top1"]
    assert plot.y.text == "held-out top-1 of the best trial (%)"
    assert all(value > 30 for line in plot.series for value in line.y)


def test_one_setting_has_no_axis(runs, tmp_path):
    assert plots(runs.write_sweep(tmp_path / "one", gammas=(0.5,))) == {}


def test_a_run_has_no_axes(runs, tmp_path):
    from chanc.report.record import read_record

    assert axes_section(read_record(runs.write_run(tmp_path / "run", 2, 2))) is None
