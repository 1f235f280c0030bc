from __future__ import annotations

import dataclasses
import json

from chanc.report.plots import Axis, Plot, Section, Series
from chanc.report.record import Record, TrialRow
from chanc.report.sections import PLOTS, register, sections


def test_every_picture_is_there(record, plots_of):
    assert set(plots_of(record)) == {
        "final-params", "final-macs", "trials-params", "trials-macs", "widths", "widths-log", "widths-map",
        "in_qc", "out_qc", "in_rank", "out_rank", "in_kappa", "out_kappa", "group_metric", "momentum",
        "cumulative", "acceptance", "training-top1", "training-loss",
    }  # fmt: skip


def test_axes_are_named_with_units(record, plots_of):
    plots = plots_of(record)
    assert all(plot.x.text and plot.y.text for plot in plots.values())
    assert plots["widths"].y.text == "width (channels)"
    assert plots["final-params"].x.text == "parameters (millions)"
    assert plots["final-macs"].x.text == "MACs (billions)"
    assert plots["final-macs"].y.text == "top-1 (%)"


def test_a_failed_trial_leaves_a_gap(record, plots_of):
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


def test_a_strangers_section_stands_where_it_says(record):
    def mine(record):
        series = Series("one", [1], [2], "#000")
        return Section("mine", "Mine", "", [Plot("mine", "Mine", Axis("x"), Axis("y"), [series])])

    before = [section.id for section in sections(record)]
    assert before == ["accuracy", "widths", "metrics", "cumulative", "acceptance", "training"]
    for order, place in ((100, 6), (15, 1)):
        with PLOTS.scratch():
            register("mine", order=order)(mine)
            assert [section.id for section in sections(record)] == [*before[:place], "mine", *before[place:]]
