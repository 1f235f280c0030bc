from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chanc.study.rundir import RunDir
from rich.console import Console

from chanc.errors import RunError
from chanc.study import rundir
from chanc.study.compare import Finals, rivals, table
from chanc.study.driver import Task, run_trials
from chanc.study.methods.trial.greedy import Greedy
from chanc.study.outcome import finish
from chanc.study.progress import Progress
from chanc.testing.engines import MEMBERS, SPACE, FakeEngine

RECIPE = {"lr": 0.1}


def searched(path: Path, engine: FakeEngine) -> tuple[Task, RunDir]:
    run = rundir.create(path, {}, {})
    engine.save({"widths": {"a": 32, "b": 48}, "weight": 0.0}, path / "input.onnx")
    task = Task(Greedy(trials=3), SPACE, engine, MEMBERS, 0, Progress(3, 2, quiet=True))
    run_trials(task, run)
    engine.calls.clear()
    return task, run


def test_rivals_cost_what_the_found_network_costs() -> None:
    found = {"a": 64, "b": 16}
    widths = rivals(SPACE, found, ("baseline", "uniform", "random"), 0, 2)
    assert list(widths) == ["found", "baseline", "uniform", "random"]
    assert widths["baseline"] == {"a": 32, "b": 48}
    for name in ("uniform", "random"):
        assert SPACE.count(widths[name], "params") == pytest.approx(SPACE.count(found, "params"), rel=0.1)
    assert widths["uniform"]["b"] / widths["uniform"]["a"] == pytest.approx(1.5, rel=0.15)


def test_unknown_rival_is_refused() -> None:
    with pytest.raises(RunError, match="nothing named 'unifrom' to compare with"):
        Finals(RECIPE, 5, 1, ("unifrom",))


def test_finals_are_paired_by_seed_and_written(tmp_path: Path) -> None:
    engine = FakeEngine()
    task, run = searched(tmp_path, engine)
    result = finish(task, run, Finals(RECIPE, 5, 2))
    assert [row["name"] for row in result.rows] == ["found", "baseline", "uniform"]
    seeds = [call["seed"] for call in engine.calls]
    assert seeds[:2] == seeds[2:4] == seeds[4:]
    assert seeds[0] != seeds[1]
    scores = [(seed % 1000) / 1000 for seed in seeds[:2]]
    assert result.rows[0]["top1"] == pytest.approx(sum(scores) / 2)
    assert result.rows[0]["top1_std"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    stored = json.loads((tmp_path / "comparison.json").read_text())
    assert [row["name"] for row in stored["rows"]] == ["found", "baseline", "uniform"]
    assert result.model.read_bytes() == (tmp_path / "final/found-0/model.onnx").read_bytes()
    assert (tmp_path / "model.py").read_text().startswith("# {'a'")


def test_killed_final_training_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    engine = FakeEngine()
    task, run = searched(tmp_path, engine)
    engine.kill_at = 1
    with pytest.raises(KeyboardInterrupt):
        finish(task, run, Finals(RECIPE, 5))
    checkpoint = tmp_path / "final/baseline-0/training.safetensors"
    assert checkpoint.read_text() == "half"
    engine.kill_at = None
    finish(task, run, Finals(RECIPE, 5))
    assert [call["final"] for call in engine.calls[2:]] == [{"a": 32, "b": 48}, engine.calls[3]["final"]]
    assert not checkpoint.exists()
    done = len(engine.calls)
    finish(task, run, Finals(RECIPE, 5))
    assert len(engine.calls) == done


def test_other_recipe_trains_again_and_drops_the_checkpoint(tmp_path: Path) -> None:
    engine = FakeEngine()
    task, run = searched(tmp_path, engine)
    finish(task, run, Finals(RECIPE, 5, 1, ()))
    finish(task, run, Finals({"lr": 0.2}, 5, 1, ()))
    assert len(engine.calls) == 2


def test_failed_final_training_is_left_out(tmp_path: Path) -> None:
    engine = FakeEngine()
    task, run = searched(tmp_path, engine)
    engine.failing = {1: "diverged"}
    rows = finish(task, run, Finals(RECIPE, 5)).rows
    assert [row["name"] for row in rows] == ["found", "uniform"]


def test_without_final_training_costs_are_compared(tmp_path: Path) -> None:
    task, run = searched(tmp_path, FakeEngine())
    result = finish(task, run, None)
    assert [(row["name"], row["top1"]) for row in result.rows] == [("baseline", None), ("found", run.trials[2]["top1"])]
    assert result.trial == 2
    assert result.model.read_bytes() == (tmp_path / "trials/002/model.onnx").read_bytes()
    assert not (tmp_path / "comparison.json").exists()


def test_best_widths_that_no_trial_trained_are_made(tmp_path: Path) -> None:
    engine = FakeEngine()
    run = rundir.create(tmp_path, {}, {})
    engine.save({"widths": {"a": 32, "b": 48}, "weight": 0.0}, tmp_path / "input.onnx")
    task = Task(Greedy(trials=9, best_by="group"), SPACE, engine, MEMBERS, 3, Progress(9, 2, quiet=True))
    run_trials(task, run)
    result = finish(task, run, None)
    assert json.loads(result.model.read_text())["widths"] == result.widths
    if result.trial is None:
        assert json.loads(result.model.read_text())["weight"] > 0


def test_search_without_one_good_trial_is_an_error(tmp_path: Path) -> None:
    run = rundir.create(tmp_path, {}, {})
    engine = FakeEngine(failing={0: "diverged", 1: "diverged"})
    engine.save({"widths": {"a": 32, "b": 48}, "weight": 0.0}, tmp_path / "input.onnx")
    task = Task(Greedy(trials=2), SPACE, engine, MEMBERS, 3, Progress(2, 2, quiet=True))
    run_trials(task, run)
    with pytest.raises(RunError, match=r"no trial of .* worked; the last one: diverged"):
        finish(task, run, None)


def test_table_shows_counts_and_spread() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "found", "params": 1234567, "macs": 5e7, "top1": 0.9, "top1_std": 0.012, "latency_s": 0.0015},
        {"name": "baseline", "params": 12, "macs": 10, "top1": None, "latency_s": None},
    ]
    console = Console(width=100, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(rows, "after 5 epochs"))
    text = console.export_text()
    for piece in ("1,234,567", "50M", "90.00% ± 1.20%", "1.50 ms", "after 5 epochs"):
        assert piece in text
