from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import pytest

from chanc.report.acceptance_plots import acceptance
from chanc.report.plots import scaled
from chanc.report.published import reference_points, search_days
from chanc.report.record import Record, TrialRow, read_record
from chanc.report.run_plots import sections
from chanc.runs import Row


@pytest.fixture
def record(runs, tmp_path):
    return read_record(runs.write_run(tmp_path / "run", groups=6, trials=8, epochs=2))


def plots_of(record):
    return {plot.id: plot for section in sections(record) for plot in section.plots}


def test_every_picture_is_there(record):
    assert set(plots_of(record)) == {
        "final-params", "final-macs", "trials-params", "trials-macs", "widths", "widths-log", "widths-map",
        "in_qc", "out_qc", "in_rank", "out_rank", "in_kappa", "out_kappa", "group_metric", "momentum",
        "cumulative", "acceptance", "training-top1", "training-loss",
    }  # fmt: skip


def test_axes_are_named_with_units(record):
    plots = plots_of(record)
    assert all(plot.x.text and plot.y.text for plot in plots.values())
    assert plots["widths"].y.text == "width (channels)"
    assert plots["final-params"].x.text == "parameters (millions)"
    assert plots["final-macs"].x.text == "MACs (billions)"
    assert plots["final-macs"].y.text == "top-1 (%)"


def test_widths_are_those_of_the_log(record):
    plot = plots_of(record)["widths"]
    for series in plot.series:
        assert list(series.x) == list(range(8))
        assert list(series.y) == [trial.widths[series.name] for trial in record.trials]


def test_a_layers_metric_runs_over_the_epochs_of_all_trials(record):
    plot = plots_of(record)["out_rank"]
    name = record.groups[2]
    series = next(s for s in plot.series if s.name == name)
    assert list(series.x) == list(range(1, 17))
    assert list(series.y) == [epoch.metrics[name]["out_rank"] for t in record.trials for epoch in t.epochs]


def test_accuracy_against_params(record):
    plot = plots_of(record)["final-params"]
    found = next(s for s in plot.series if s.name == "found")
    assert list(found.x) == [5.5]
    assert list(found.y) == [93.42]
    assert len({s.colour for s in plot.series}) == 4


def test_several_points_of_one_name_make_a_line(runs, tmp_path):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=4)
    rows = [Row("uniform", p, p, t) for p, t in ((3000, 0.9), (1000, 0.7), (2000, 0.8))]
    record = dataclasses.replace(read_record(folder), rows=tuple(rows))
    series = plots_of(record)["final-params"].series
    assert [(list(s.x), list(s.y), s.line) for s in series] == [([1.0, 2.0, 3.0], [70.0, 80.0, 90.0], True)]


def test_acceptance_golden_values():
    assert acceptance(0.3, 5.0) == pytest.approx(0.513417, abs=5e-7)
    assert acceptance(-0.3, 5.0 * 19 / 36) == pytest.approx(0.282760, abs=5e-7)
    assert acceptance(0.0, 5.0) == 0.0
    assert acceptance(0.3, 0.0) == 0.0


def test_acceptance_dots_are_the_runs_changes(record):
    plot = plots_of(record)["acceptance"]
    dots = plot.series[-1]
    assert dots.name == "this run"
    group = record.groups[0]
    change = record.trials[1].momentum[group] - record.trials[0].momentum[group]
    assert dots.labels[0] == f"trial 1, {group}"
    assert dots.x[0] == pytest.approx(abs(change))
    # the change after trial 1 is judged at the temperature of trial 1
    assert dots.y[0] == pytest.approx(acceptance(change, 5.0 * 7 / 8))


def test_acceptance_with_alpha_squared(runs, tmp_path):
    settings = {"sampler": {"alpha": 5.0, "zeta": "alpha-squared"}}
    folder = runs.write_run(tmp_path / "run", groups=3, trials=8, settings=settings)
    record = read_record(folder)
    plot = plots_of(record)["acceptance"]
    # at the start alpha stands in the exponent twice: exp(-1 / (5 * 0.3 * 5))
    assert plot.series[0].y[15] == pytest.approx(0.875173, abs=1e-6)
    changes = [
        after.momentum[group] - before.momentum[group]
        for before, after in pairwise(record.trials)
        for group in record.groups
    ]
    assert [y == 1.0 for y in plot.series[-1].y] == [change < 0 for change in changes]


def test_only_annealing_has_an_acceptance(runs, tmp_path):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=4, settings={"algo": "greedy"})
    assert "acceptance" not in plots_of(read_record(folder))


def test_a_failed_trial_leaves_a_gap(record):
    failed = TrialRow(2, record.trials[2].widths, failed="diverged")
    unmeasured = {name: float("nan") for name in record.trials[3].group_metric}
    blind = dataclasses.replace(record.trials[3], group_metric=unmeasured)
    trials = (*record.trials[:2], failed, blind)
    plots = plots_of(dataclasses.replace(record, trials=trials))
    assert [value is None for value in plots["group_metric"].series[0].y] == [False, False, True, True]
    assert len(plots["trials-params"].series[0].x) == 3
    assert None not in plots["widths"].series[0].y


def test_an_empty_run_has_no_plots(tmp_path):
    assert sections(Record(tmp_path, {})) == []


def test_the_data_of_a_plot_is_json(record):
    for section in sections(record):
        json.dumps(section.data(), allow_nan=False)


def test_published_numbers_match_whole_names():
    assert [entry["top1"] for entry in reference_points("zoo:densenet-bc", "cifar10")] == [95.49, 95.72]
    assert reference_points("densenet-bc", "digits") == []
    assert [e["params"] for e in reference_points("runs/darts7.onnx", "cifar10")] == [222650]
    assert [e["params"] for e in reference_points("r34.onnx conetv2-resnet34", "cifar100")] == [21328292]
    assert [e["params"] for e in reference_points("dartsplus7", "cifar10")] == [261370]
    assert reference_points("darts70", "cifar10") == []
    assert search_days("resnet34-w16", "sa")["gpu_days"] == 0.036
    assert search_days("resnet34", "conet") is None


def test_published_accuracy_is_drawn_beside_final_trainings_only(runs, tmp_path):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=4, settings={"model": "densenet-bc.onnx"})
    plots = plots_of(read_record(folder))
    assert {r.value for r in plots["final-params"].references if r.axis == "y"} == {95.49, 95.72}
    assert all(r.source for r in plots["final-params"].references)
    assert [r for r in plots["trials-params"].references if r.axis == "y"] == []


def test_scaled_counts():
    assert scaled(21282122) == (1e6, "millions")
    assert scaled(999) == (1.0, "")
    assert scaled(1.2e9) == (1e9, "billions")
