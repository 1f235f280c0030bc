from __future__ import annotations


def test_widths_are_those_of_the_log(record, plots_of):
    plot = plots_of(record)["widths"]
    for series in plot.series:
        assert list(series.x) == list(range(8))
        assert list(series.y) == [trial.widths[series.name] for trial in record.trials]
