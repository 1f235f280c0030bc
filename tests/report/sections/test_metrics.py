from __future__ import annotations

import dataclasses

from chanc.report.record import read_record


def test_a_layers_metric_runs_over_the_epochs_of_all_trials(record, plots_of):
    plot = plots_of(record)["out_rank"]
    name = record.groups[2]
    series = next(s for s in plot.series if s.name == name)
    assert list(series.x) == list(range(1, 17))
    assert list(series.y) == [epoch.metrics[name]["out_rank"] for t in record.trials for epoch in t.epochs]


def test_a_figure_of_any_metric_is_drawn_under_its_own_name(runs, tmp_path, plots_of):
    record = read_record(runs.write_run(tmp_path / "run", groups=3, trials=2, final=False))
    measured = [
        dataclasses.replace(epoch, metrics={name: {"norm/mean": float(at)} for name in epoch.metrics})
        for at, epoch in enumerate(record.trials[1].epochs)
    ]
    trials = (record.trials[0], dataclasses.replace(record.trials[1], epochs=tuple(measured)))
    plot = plots_of(dataclasses.replace(record, trials=trials))["figure-norm_mean"]
    assert (plot.title, plot.y.text) == ("Layers: norm/mean", "norm/mean")
    assert [list(series.y) for series in plot.series] == [[None, None, 0.0, 1.0]] * 3
