"""The sections of a masking search: widths in their ranges, weights of the widths, costs."""

from __future__ import annotations

import json
from functools import partial

import pytest

from chanc.report.record import read_record
from chanc.report.sections import sections


@pytest.fixture
def masked(runs, tmp_path):
    """Reads a masking search that is made up."""

    def make(algo: str = "flexcharts", **more: int):
        return read_record(runs.write_masked_run(tmp_path / algo, algo=algo, **more))

    return partial(make, units=6, epochs=4)


def text_of(record) -> str:
    return next(section.text for section in sections(record) if section.id == "masked-widths")


def test_every_picture_is_there(masked, plots_of):
    assert set(plots_of(masked(final=False))) == {
        *(f"masked-range-{rank}" for rank in (1, 2, 3, 4)), "masked-widths", "masked-places", "masks",
        "masked-macs", "masked-params", "masked-losses", "masked-prices", "training-top1", "training-loss",
    }  # fmt: skip


def test_a_width_runs_in_the_range_that_it_chooses_from(masked, plots_of):
    record = masked()
    for rank in (1, 2, 3, 4):
        (series,) = plots_of(record)[f"masked-range-{rank}"].series
        unit = series.name
        assert list(series.x) == [1, 2, 3, 4]
        assert series.y == [epoch.widths[unit] for epoch in record.masked]
        assert series.low == [epoch.low[unit] for epoch in record.masked]
        assert series.high == [epoch.high[unit] for epoch in record.masked]


def test_widths_that_lean_on_a_border_come_first_and_are_named(masked):
    record = masked("dmask")
    places = {unit: record.masked[-1].place(unit) for unit in record.masked[-1].widths}
    leaning = [unit for unit, place in places.items() if min(place, 1 - place) < 0.1]
    assert leaning
    assert f"{len(leaning)} of 6 end in the last 10% of it" in text_of(record)
    assert text_of(record).endswith(f": {', '.join(leaning[:3])}.")
    first = next(section for section in sections(record) if section.id == "masked-widths").plots[0]
    assert first.series[0].name == min(places, key=lambda unit: min(places[unit], 1 - places[unit]))
    assert "None ends at a border" in text_of(masked())


def test_weights_of_the_first_and_the_last_epoch(masked, plots_of):
    record = masked()
    series = plots_of(record)["masks"].series
    assert [one.name for one in series] == [
        f"cell{index}, epoch {epoch}" for index in (0, 2, 3, 5) for epoch in (1, 4)
    ]
    assert [one.dash for one in series] == [True, False] * 4
    assert series[1].x == record.masked[-1].masks["cell0"].options
    assert sum(series[1].y) == pytest.approx(1)


def test_costs_stand_beside_their_targets(masked, plots_of):
    record = masked()
    plot = plots_of(record)["masked-macs"]
    assert plot.y.text == "expected MACs (billions)"
    assert list(plot.series[0].y) == [epoch.costs["macs"] / 1e9 for epoch in record.masked]
    assert [(one.axis, one.value) for one in plot.references] == [("y", 0.6)]
    assert not plots_of(record)["masked-params"].references
    assert [one.name for one in plots_of(record)["masked-losses"].series] == [
        "weights' batches", "masks' batches", "held-out images",
    ]  # fmt: skip


def test_a_search_of_one_epoch_has_points(masked, plots_of):
    plots = plots_of(masked(epochs=1))
    assert len(plots["masks"].series) == 4
    for name in ("masked-macs", "masked-losses", "masked-widths"):
        assert all(series.marker == "circle" for series in plots[name].series)
    for section in sections(masked(algo="dmask", epochs=1)):
        json.dumps(section.data(), allow_nan=False)
