from __future__ import annotations

import dataclasses
import statistics

import pytest

from chanc.report.record import Record
from chanc.report.sections.generalisation import generalisation_section
from chanc.report.sweep import read_sweep
from chanc.report.swept import SweptCell, figures_of
from chanc.runs import Decision, Epoch, TrialEvent, read_run
from chanc.runs.sweeps import CellResult


def record(tmp_path, figures):
    """A sweep of one cell a setting and seed: figures[setting][seed]."""
    cells = tuple(
        SweptCell(CellResult(f"{lr}-{seed}", "greedy", seed, options={"lr": lr}), one)
        for lr, of in enumerate(figures) for seed, one in enumerate(of)
    )  # fmt: skip
    return Record(tmp_path, {}, cells=cells)


def test_figures_of_a_trial():
    layers = {"a": {"in_qc": 0.1, "out_qc": 0.3, "in_rank": 0.5, "out_rank": 0.7}, "b": {"in_qc": 0.2, "out_qc": 0.4}}
    epochs = (Epoch(0, 9.0, 0.1, metrics={"a": {"in_qc": 9.0}}), Epoch(1, 0.5, 0.8, metrics=layers))
    found = figures_of(TrialEvent(0, Decision(), 1, 1, 0.8, 0.75, epochs))
    assert found == {"score": 0.8, "loss": 0.75, "gap": 0.25, "qc": pytest.approx(0.25), "rank": pytest.approx(0.6)}
    assert figures_of(TrialEvent(0, Decision(), 1, 1, 0.8, float("nan"), epochs)).keys() == {"score", "qc", "rank"}


def test_a_point_a_setting_with_its_seeds_and_the_rank_correlation(tmp_path):
    figures = [[{"qc": x + d, "gap": x - d, "score": x / 10} for d in (0.1, -0.1)] for x in (1.0, 2.0, 4.0, 3.0, 5.0)]
    section = generalisation_section(record(tmp_path, figures))
    plots = {plot.id: plot for plot in section.plots}
    assert list(plots) == ["qc-against-score", "qc-against-gap"]
    (line,) = plots["qc-against-gap"].series
    assert list(line.x) == pytest.approx([1, 2, 4, 3, 5])
    assert list(line.y) == pytest.approx([1, 2, 4, 3, 5])
    assert list(line.errors) == pytest.approx([0.1] * 5)
    assert line.labels[2] == "lr 2, n = 2"
    assert plots["qc-against-score"].note == (
        "ρ = +1.00 over n = 5 settings (unrelated ones reach 0.88 in one case of 20). "
        "Error bars: one standard error over n = 2 trainings with other seeds."
    )


def test_a_correlation_that_says_nothing_says_so(tmp_path):
    figures = [[{"qc": x, "gap": y}] for x, y in ((1.0, 2.0), (2.0, 1.0), (3.0, 3.0))]
    (plot,) = generalisation_section(record(tmp_path, figures)).plots
    assert plot.note.startswith("ρ = +0.50 over n = 3 settings, which can't be told from none")
    assert plot.note.endswith("One training each (n = 1): no error bars.")
    alike = [[{"qc": 1.0, "gap": y}] for y in (1.0, 2.0, 3.0)]
    assert generalisation_section(record(tmp_path, alike)).plots[0].note.startswith("No rank correlation")


def test_two_settings_are_too_few(tmp_path):
    assert generalisation_section(record(tmp_path, [[{"qc": 1.0, "gap": 2.0}], [{"qc": 2.0, "gap": 1.0}]])) is None


def test_the_figures_are_those_of_the_best_trial(sweep):
    cell = read_sweep(sweep).cells[0]
    trial = read_run(sweep / cell.result.cell).trials[-1]
    layers = trial.epochs[-1].metrics.values()
    assert cell.figures["qc"] == pytest.approx(statistics.fmean(f[f"{m}_qc"] for f in layers for m in ("in", "out")))
    assert cell.figures["gap"] == pytest.approx(trial.loss - trial.epochs[-1].loss)
    (sweep / cell.result.cell / "config.json").unlink()
    (gone,) = [one for one in read_sweep(sweep).cells if one.result == cell.result]
    assert gone == dataclasses.replace(cell, figures={}, widths=())
