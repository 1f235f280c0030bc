"""benchmarks/wins.py without a training: what is done in which order, and only once; the verdict of its page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from chanc.study.methods.registry import fields_of, make

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def wins(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module."""
    monkeypatch.syspath_prepend(FOLDER)
    import wins

    return wins


@pytest.fixture
def page(wins: Any) -> Any:
    """The module that writes the page."""
    import wins_page

    return wins_page


CELL = "vgg11-fashion-mnist-params"


def row(source: str, seed: int, score: float = 0.9, kind: str = "final", cell: str = CELL) -> dict[str, Any]:
    """A line of the ledger, as made up."""
    work = {"epoch_macs": 20_000, "trials": 3} if kind == "search" else {"params": 100, "macs": 1000, "score": score}
    return {"cell": cell, "kind": kind, "source": source, "seed": seed, "widths": {"a": 3}, "cpu_s": 1.0, **work}


def test_a_ledger_knows_what_an_earlier_call_did(wins: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    wins.Ledger(path).add(row("uniform", 0, 0.5))
    wins.Ledger(path).add(row("uniform", 1, 0.6))
    found = wins.Ledger(path)
    assert list(found.rows) == [f"{CELL}:final:uniform:0", f"{CELL}:final:uniform:1"]
    assert [one["score"] for one in found.rows.values()] == [0.5, 0.6]
    assert [json.loads(line)["seed"] for line in path.read_text().splitlines()] == [0, 1]


def ids(wins: Any, tmp_path: Path, methods: list[str], rows: list[dict[str, Any]], cell: str = CELL) -> list[str]:
    """The jobs that are told, without the cell's name."""
    ledger = wins.Ledger(tmp_path / "rows.jsonl")
    for one in rows:
        ledger.add(one)
    return [job.id.removeprefix(f"{cell}:") for job, _ in wins.jobs([wins.CELLS[cell]], methods, ledger)]


def test_searches_come_first_then_seed_by_seed_all_that_may_be_trained(wins: Any, tmp_path: Path) -> None:
    searched = row("shape", 1, kind="search")
    told = ids(wins, tmp_path, ["shape", "uniform", "flat"], [searched])
    finals = [f"final:{name}:{seed}" for seed in wins.SEEDS for name in ("uniform", "flat", "shape/1")]
    assert told == ["search:shape:0", "search:shape:1", *finals]


def test_found_widths_are_those_that_are_trained(wins: Any, tmp_path: Path) -> None:
    ledger = wins.Ledger(tmp_path / "rows.jsonl")
    ledger.add(row("shape", 0, kind="search"))
    told = {job.source: widths for job, widths in wins.jobs([wins.CELLS[CELL]], ["shape", "flat"], ledger)}
    assert told == {"shape": None, "flat": None, "shape/0": {"a": 3}}


def test_the_best_random_shape_is_trained_again_once_all_are_there(wins: Any, tmp_path: Path) -> None:
    draws = [row(f"draw/{number}", 100, 0.8 + 0.01 * (number == 4)) for number in range(wins.CEILING)]
    told = ids(wins, tmp_path, ["ceiling"], draws[:-1])
    assert told == [f"final:draw/{number}:100" for number in range(wins.CEILING)]
    told = ids(wins, tmp_path, ["ceiling"], draws[-1:])
    assert told[wins.CEILING :] == [f"final:draw/4:{seed}" for seed in wins.SEEDS]


def test_where_not_every_method_searches_the_named_one_and_a_second_do(wins: Any, tmp_path: Path) -> None:
    cell = "resnet18-imagenet-cifar10-both"
    told = ids(wins, tmp_path, [*wins.METHODS, "ceiling"], [], cell)
    assert sorted(told) == sorted(f"search:{name}:{number}" for name in (wins.NAMED, wins.SECOND)
                                  for number in wins.SEARCHES)


def test_all_methods_are_there_with_their_options(wins: Any) -> None:
    """And know the budget where they are brought to it in every trial."""
    for method in wins.METHODS.values():
        fields = fields_of(method.algo)
        assert {"target_params", "target_macs"} <= fields
        made = make(method.algo, **{name: value for name, value in method.options.items() if name != "epochs"})
        assert made.name == method.algo


def finals(wins: Any, **scores: float) -> list[dict[str, Any]]:
    """Five seeds of each: its mean, and a little that all seeds, or the one seed, have in common."""
    return [row(source.replace("_", "/"), seed, score + 0.01 * seed + 0.001 * (seed % 2) * (source == "flat"))
            for source, score in scores.items() for seed in wins.SEEDS]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "said", "against_flat"),
    [
        (0.86, 0.88, "1 of 1 cells of one budget, and worse than one of them in 0", "+1.91 (1 better, 0 worse)"),
        (0.82, 0.84, "0 of 1 cells of one budget, and worse than one of them in 1", "-2.09 (0 better, 1 worse)"),
    ],
)
def test_the_verdict_is_of_both_networks_that_were_found(
    wins: Any, page: Any, first: float, second: float, said: str, against_flat: str
) -> None:
    """Flat is the better one of the controls."""
    made = finals(wins, shape_0=first, shape_1=second, uniform=0.80, flat=0.8505)
    made = [{**one, "score": one["score"] + 0.001 * (one["seed"] == 2) * (one["source"] == "uniform")} for one in made]
    text = page.page([*made, row("shape", 0, kind="search"), row("shape", 1, kind="search")])
    assert f"better than both in {said}" in text
    assert "Less the ceiling" not in text
    against_uniform = f"{100 * ((first + second) / 2 - 0.8002):+.2f} (1 better, 0 worse)"
    assert f"| **{wins.NAMED}** | 1 | {against_uniform} | {against_flat} | {against_flat} | 4.0 trainings |" in text
    assert f"| **{wins.NAMED}** | 100 | 1,000 | {(first + second) / 2 + 0.02:.2%} ±" in text
    assert f"| {20_000 / (wins.EPOCHS * 1000):.1f} trainings |" in text


def test_how_far_the_named_sampler_is_from_the_ceiling(wins: Any, page: Any) -> None:
    text = page.page(finals(wins, shape_0=0.86, shape_1=0.88, draw_4=0.85, uniform=0.8, flat=0.8))
    assert "Less the ceiling `shape` has +2.00 points" in text


def test_a_cell_is_told_when_the_controls_and_what_the_named_sampler_found_are_trained(wins: Any, page: Any) -> None:
    made = finals(wins, shape_0=0.9, shape_1=0.9, uniform=0.8, flat=0.81)
    assert "## vgg11" in page.page(made)
    assert "## vgg11" not in page.page(made[:-1])
    assert "## vgg11" not in page.page([one for one in made if one["source"] != "shape/1"])


def test_cells_are_put_together_by_budget_too_and_equal_params_have_a_published_figure(wins: Any, page: Any) -> None:
    made = finals(wins, shape_0=0.9, shape_1=0.9, uniform=0.8, flat=0.81)
    less = finals(wins, shape_0=0.76, shape_1=0.76, uniform=0.8, flat=0.81)
    text = page.page([*made, *({**one, "cell": "vgg11-fashion-mnist-macs"} for one in less)])
    titles = ["All cells of one budget", "Those of equal params", "Those of equal MACs"]
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")][:3] == titles
    rows = [line.split(" | ")[:3] for line in text.splitlines() if line.startswith("| **shape** | ")]
    assert [(cells, against.split()[0]) for _, cells, against in rows[:3]] == [("2", "+3.00"), ("1", "+10.00"),
                                                                              ("1", "-4.00")]  # fmt: skip
    assert page.ANCHOR in text.split("## ")[2]
    assert text.count(page.ANCHOR) == 1


def test_differences_without_a_spread_are_no_verdict(wins: Any, page: Any) -> None:
    text = page.page(finals(wins, shape_0=0.9, shape_1=0.9, uniform=0.8, flat=0.8))
    (named,) = [line.split(" | ") for line in text.splitlines() if line.startswith("| **shape** | 100")]
    assert "better" not in named[5]  # all of uniform's differences are one and the same
    assert "better" in named[6]


def test_a_job_says_what_it_is(wins: Any) -> None:
    job = wins.Job(CELL, "final", "draw/3", 100)
    assert wins.Job(**dataclasses.asdict(job)) == job
    assert job.id == f"{CELL}:final:draw/3:100"
