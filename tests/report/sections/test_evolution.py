from __future__ import annotations

import pytest

from chanc.report.record import Record
from chanc.report.sections.evolution import SHOWN, evolution_section
from chanc.report.swept import SweptCell, swept
from chanc.runs.sweeps import CellResult


def cell(algo, seed, *widths, **options):
    trials = [{"a": first, "b": second} for first, second in widths]
    return SweptCell(CellResult(f"{algo}-{seed}-{options}", algo, seed, options=options), {}, trials)


def plots(tmp_path, *cells):
    section = evolution_section(Record(tmp_path, {}, cells=cells))
    return {} if section is None else {plot.id: plot for plot in section.plots}


def test_greedy_beside_annealing(tmp_path):
    short = cell("greedy", 0, (16, 16), (32, 30), gamma=0.8)
    long = cell("greedy", 1, (16, 16), (32, 20), (40, 20), gamma=0.8)
    found = plots(tmp_path, short, long, cell("sa", 0, (16, 16), (48, 24), gamma=0.8))
    assert list(found) == ["evolution", "evolution-1", "evolution-2"]
    total, annealed = found["evolution"].series
    assert (total.name, annealed.name) == ("greedy", "sa")  # what all have alike isn't said
    # the seed that has a third trial stands alone there
    assert (list(total.y), list(total.errors)) == ([32, 57, 60], [0, pytest.approx(5), None])
    assert (list(annealed.y), list(annealed.errors)) == ([32, 72], [None, None])
    first, second = found["evolution-1"].series
    assert (first.name, list(first.y)) == ("a", [16, 32, 40])
    assert (second.name, list(second.y)) == ("b", [16, 25, 20])
    assert found["evolution-2"].title == "sa"


def test_of_many_settings_the_totals_alone(tmp_path):
    many = [cell("greedy", 0, (16, 16), (20, 20), gamma=gamma) for gamma in range(SHOWN + 1)]
    (plot,) = plots(tmp_path, *many).values()
    assert [line.name for line in plot.series][:2] == ["greedy, gamma 0", "greedy, gamma 1"]


def test_one_trial_is_no_evolution(tmp_path):
    assert plots(tmp_path, cell("uniform", 0, (16, 16)), cell("cnas", 0)) == {}


def test_the_trials_of_a_cell_are_read_from_its_run(runs, tmp_path):
    known = swept(runs.write_run(tmp_path / "run", groups=3, trials=4), CellResult("run", "sa"))
    assert [len(widths) for widths in known.widths] == [3] * 4
    assert swept(tmp_path, CellResult("gone", "sa")).widths == ()
