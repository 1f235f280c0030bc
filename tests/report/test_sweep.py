from __future__ import annotations

import json
import re
import statistics

import pytest

from chanc.errors import RunError
from chanc.report.run import write_images, write_report
from chanc.report.sweep import read_sweep, sweep_facts, sweep_sections
from chanc.runs.seal import seal, write_sealed


def cells(sweep, algo, gamma):
    found = [json.loads(path.read_text()) for path in sorted(sweep.glob("*/cell.json"))]
    return [cell["rows"] for cell in found if cell["algo"] == algo and cell["gamma"] == gamma]


def test_seeds_are_put_together(sweep):
    record = read_sweep(sweep)
    row = next(row for row in record.rows if row.name == "greedy" and row.label == "gamma 0.5, 3 cells")
    scores = [rows["found"]["top1"] for rows in cells(sweep, "greedy", 0.5)]
    assert row.top1 == pytest.approx(statistics.fmean(scores))
    assert row.top1_std == pytest.approx(statistics.stdev(scores))
    assert row.params == 1_600_000
    assert [r.label for r in record.rows if r.name == "sa"][-1] == "gamma 0.8, 2 cells"
    assert [r.label for r in record.rows if r.name == "baseline"] == ["the original network, 17 cells"]


def test_a_training_that_cells_share_counts_once(sweep):
    (baseline,) = [row for row in read_sweep(sweep).rows if row.name == "baseline"]
    assert (baseline.n, baseline.top1) == (3, pytest.approx(0.931))
    assert baseline.top1_std == pytest.approx(0.001)


def test_a_baseline_of_another_recipe_stands_alone(sweep):
    for path in sweep.glob("*-gamma0.8-*/cell.json"):
        cell = json.loads(path.read_text())
        cell["rows"]["baseline"] |= {"top1": 0.5, "scores": {str(cell["seed"]): 0.5}}
        cell["settings"] = {"final_lr": 0.3}
        path.write_text(json.dumps(seal(cell)))
    rows = [row for row in read_sweep(sweep).rows if row.name == "baseline"]
    assert [(row.n, row.label) for row in rows] == [
        (3, "the original network as in greedy gamma 0.0, 12 cells"),
        (3, "the original network as in greedy final_lr 0.3, gamma 0.8, 5 cells"),
    ]


def test_accuracy_against_params_has_a_line_a_method(sweep):
    section = next(section for section in sweep_sections(read_sweep(sweep)) if section.id == "accuracy")
    plot = next(plot for plot in section.plots if plot.id == "final-params")
    lines = {series.name: series for series in plot.series}
    assert set(lines) == {"baseline", "greedy", "sa", "uniform at equal params"}
    assert list(lines["greedy"].x) == [0.6, 1.6, 2.2]
    assert lines["greedy"].labels[0] == "gamma 0.0, 3 cells"
    assert lines["greedy"].line
    assert not lines["baseline"].line
    assert len(lines["uniform at equal params"].x) == 6
    assert lines["greedy"].errors[0] == pytest.approx(0.2 / 3**0.5, rel=1)
    assert lines["greedy"].errors[-1] != lines["greedy"].errors[0]
    assert len({series.colour for series in plot.series}) == 4


def test_without_final_trainings_the_trials_are_named_as_such(sweep):
    for path in sweep.glob("*/cell.json"):
        cell = json.loads(path.read_text())
        cell["rows"] = {
            "found": {"params": 7 + cell["seed"], "macs": 70, "top1": 0.1},
            "baseline": {"params": 9, "macs": 90},
        }
        path.write_text(json.dumps(seal(cell)))
    section = next(section for section in sweep_sections(read_sweep(sweep)) if section.id == "accuracy")
    # the original has no top-1 here, so that nothing of it is drawn or counted
    assert {plot.note for plot in section.plots} == {
        "Error bars: one standard error over n = 2 to 3 trainings with other seeds."
    }
    assert [(plot.id, plot.title) for plot in section.plots] == [
        ("found-params", "Best trials of the cells, parameters"), ("found-macs", "Best trials of the cells, MACs")
    ]  # fmt: skip


def test_what_is_done_and_what_failed(sweep):
    facts = dict(sweep_facts(read_sweep(sweep)))
    assert facts == {"sweep of": "r18.onnx", "cells": "17 of 18", "failed cells": "sa-gamma0.8-seed2"}


def test_the_page(sweep):
    text = write_report(sweep).read_text()
    report = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))["report"]
    names = [row[0] for row in report["tables"][0]["rows"]]
    assert names[0] == "baseline (the original network, 17 cells)"
    assert "sa (gamma 0.8, 2 cells)" in names
    assert report["tables"][0]["rows"][1][7] == "0.120"
    assert ["common.data", "cifar10"] in report["settings"]


@pytest.mark.nightly
def test_its_images(sweep, tmp_path):
    pytest.importorskip("matplotlib")
    written = write_images(sweep, tmp_path / "pictures")
    assert sorted(path.name for path in written) == [
        *(f"axis-gamma-{key}.png" for key in ("macs", "params", "top1")), "evolution.png", "final-macs.png",
            "final-params.png",
        *(f"{figure}-against-{y}.png" for figure in ("kappa", "qc", "rank") for y in ("gap", "score")),
    ]  # fmt: skip


def test_a_sweep_that_has_only_begun(tmp_path):
    write_sealed(tmp_path / "sweep.json", {"model": "a.onnx", "cells": ["greedy-seed0"]})
    write_report(tmp_path)
    assert sweep_sections(read_sweep(tmp_path)) == []


def test_a_damaged_cell_is_named(sweep):
    (sweep / "greedy-gamma0.5-seed1" / "cell.json").write_text("{")
    with pytest.raises(RunError, match=r"greedy-gamma0\.5-seed1/cell\.json is damaged"):
        write_report(sweep)
