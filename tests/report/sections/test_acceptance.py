from __future__ import annotations

import math
from itertools import pairwise

import pytest

from chanc.report.record import read_record
from chanc.report.sections.acceptance import acceptance


def test_acceptance_golden_values():
    assert acceptance(0.3, 5.0) == pytest.approx(0.513417, abs=5e-7)
    assert acceptance(-0.3, 5.0 * 19 / 36) == pytest.approx(0.282760, abs=5e-7)
    assert acceptance(0.0, 5.0) == 0.0
    assert acceptance(0.3, 0.0) == 0.0


def test_acceptance_dots_are_the_runs_changes(record, plots_of):
    plot = plots_of(record)["acceptance"]
    dots = plot.series[-1]
    assert dots.name == "this run"
    group = record.groups[0]
    change = record.trials[1].momentum[group] - record.trials[0].momentum[group]
    assert dots.labels[0] == f"trial 1, {group}"
    assert dots.x[0] == pytest.approx(abs(change))
    # the change after trial 1 is judged at the temperature of trial 1
    assert dots.y[0] == pytest.approx(acceptance(change, 5.0 * 7 / 8))


def test_acceptance_with_alpha_squared(runs, tmp_path, plots_of):
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


def test_only_annealing_has_an_acceptance(runs, tmp_path, plots_of):
    folder = runs.write_run(tmp_path / "run", groups=3, trials=4, settings={"algo": "greedy"})
    assert "acceptance" not in plots_of(read_record(folder))


def test_a_sweep_has_a_curve_for_each_alpha(runs, tmp_path):
    from chanc.report.record import Record
    from chanc.report.sections.acceptance import acceptance_section
    from chanc.report.swept import SweptCell
    from chanc.runs.sweeps import CellResult

    def swept(*cells):
        return Record(tmp_path, {}, cells=tuple(SweptCell(CellResult("x", algo, options=of)) for algo, of in cells))

    both = ("sa", {"alpha": 1.0}), ("sa", {}), ("sa", {"zeta": "alpha-squared"}), ("greedy", {"alpha": 9.0})
    (plot,) = acceptance_section(swept(*both)).plots
    assert [line.name for line in plot.series] == ["alpha 1", "alpha 5", "alpha 5, squared"]
    assert [line.y[-1] for line in plot.series] == pytest.approx([math.exp(-1), math.exp(-1 / 5), math.exp(-1 / 25)])
    assert acceptance_section(swept(*both[:1])) is None
    assert acceptance_section(swept(("greedy", {}))) is None
