"""benchmarks/planted.py without a search: what is left to do, the network that is starved, and the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chanc.study.methods.registry import METHODS, fields_of
from chanc.study.planted import sow

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module; the room of the same name is another one."""
    monkeypatch.syspath_prepend(FOLDER)
    import planted

    return planted


def rows(**widths: tuple[int, ...]) -> list[dict[str, Any]]:
    """A line a search, as made up."""
    every = [(method, seed, width) for method, of in widths.items() for seed, width in enumerate(of)]
    return [{"net": "wide", "method": method, "seed": seed, "width": width, "group": "g", "own": 16, "starved": 4,
             "goal": 10.0, "cpu_s": 2.0} for method, seed, width in every]  # fmt: skip


def test_what_has_a_row_is_not_done_again(bench: Any) -> None:
    left = bench.left(rows(greedy=(4, 16), random=(4,)), ["wide"], ["random", "greedy"], 3)
    assert left == [("wide", "random", 1), ("wide", "random", 2), ("wide", "greedy", 2)]
    assert len(bench.left(rows(greedy=(4, 16)), ["wide", "narrow"], ["greedy"], 2)) == 2


def test_all_methods_of_widths_are_tested_with_options_that_they_have(bench: Any) -> None:
    assert all(set(method.options) <= set(fields_of(name)) for name, method in bench.METHODS.items())
    assert {"greedy", "sa", "conet", "shape", "taylor", "evolve", "optuna", "random"} <= set(bench.METHODS)
    assert {"flexcharts", "dmask"} <= set(bench.METHODS)
    assert set(bench.METHODS) <= set(METHODS)


@pytest.mark.parametrize(("net", "own", "starved", "goal"), [("wide", 16, 4, 10.0), ("narrow", 8, 2, 5.0)])
def test_the_stream_is_starved(bench: Any, tmp_path: Path, net: str, own: int, starved: int, goal: float) -> None:
    source, defect = sow(bench.sound(bench.NETS[net], tmp_path), tmp_path)
    assert source.exists()
    assert (defect.own, defect.starved, defect.goal) == (own, starved, goal)
    assert sorted(defect.widths.values())[0] == starved < sorted(defect.widths.values())[1] / 4


def test_the_table_says_who_passes(bench: Any) -> None:
    made = rows(random=(16, 4, 4, 4, 4), greedy=(10, 12, 16, 9, 10), sa=(9, 9, 16, 16, 16), shape=(16, 16))
    text = bench.page(made)
    assert "| random | **16** | 4 | 4 | 4 | 4 | 1 of 5 |  | 2 |" in text
    assert "| greedy | **10** | **12** | **16** | 9 | **10** | 4 of 5 | passes | 2 |" in text
    assert "| sa | 9 | 9 | **16** | **16** | **16** | 3 of 5 | fails | 2 |" in text
    assert "| shape | **16** | **16** |  |  |  | 2 of 2 |  | 2 |" in text
