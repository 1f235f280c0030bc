from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from chanc import runs
from chanc.errors import RunError
from chanc.runs import Decision, FinalEvent, Row, RunDir, VoidEvent, final_rows, read_run
from chanc.study.compare import Finals, table, train_finals
from chanc.study.driver import Task, run_method
from chanc.study.methods.trial.greedy import Greedy
from chanc.study.outcome import finish
from chanc.study.progress import Progress
from chanc.study.rivals import COSTS, RIVALS, ROLES, edge_rivals, named, rivals
from chanc.testing.engines import MEMBERS, SPACE, FakeEngine, toy

RECIPE = {"lr": 0.1}
COMPARE = ("baseline", "uniform-params")


def searched(path: Path, engine: FakeEngine) -> tuple[Task, RunDir]:
    run = runs.create(path, {}, {})
    engine.save(toy({"a": 32, "b": 48}), path / "input.onnx")
    task = Task("greedy", Greedy(trials=3), SPACE, engine, MEMBERS, 0, Progress(3, 2, quiet=True))
    run_method(task, run)
    engine.calls.clear()
    return task, run


def test_rivals_cost_what_the_found_network_costs() -> None:
    found = {"a": 64, "b": 16}
    drawn = rivals(SPACE, found, RIVALS, 0, 2, turns=2)
    assert list(drawn) == ["found", "baseline", *(f"{role}-{cost}" for role in ROLES for cost in ("params", "macs"))]
    assert drawn["found"] == [found, found]
    assert drawn["baseline"] == [{"a": 32, "b": 48}] * 2
    for role in ROLES:
        for counter in COSTS:
            for widths in drawn[f"{role}-{counter}"]:
                assert SPACE.count(widths, counter) == pytest.approx(SPACE.count(found, counter), rel=0.01)
    uniform, flat, random = (drawn[f"{role}-params"] for role in ROLES)
    assert uniform[0]["b"] / uniform[0]["a"] == pytest.approx(1.5, rel=0.15)
    assert flat[0]["b"] == pytest.approx(flat[0]["a"], abs=2)
    assert random[0] != random[1]


def test_rivals_of_edges_are_other_edges_and_whole_networks() -> None:
    """Random ones where the method draws some, at equal params alone; the others' widths cost what was found."""
    found = Decision(edges={"y:1": {"a": (0, 2)}})
    counts = {"params": SPACE.count({"a": 16, "b": 24}, "params"), "macs": SPACE.count({"a": 16, "b": 24}, "macs")}

    def drawn(turn: int) -> Decision:
        return Decision(edges={"y:1": {"a": (turn,)}})

    made = edge_rivals(SPACE, found, counts, drawn, ("baseline", "uniform", "random"), 0, 2, turns=2)
    assert list(made) == ["found", "baseline", "uniform-params", "uniform-macs", "random-params"]
    assert made["found"] == [found, found]
    assert made["random-params"] == [drawn(0), drawn(1)]
    assert made["baseline"] == [Decision(SPACE.widths)] * 2
    for counter in COSTS:
        for decision in made[f"uniform-{counter}"]:
            assert SPACE.count(decision.widths, counter) == pytest.approx(counts[counter], rel=0.01)
    assert list(edge_rivals(SPACE, found, counts, None, ("random",), 0, 2)) == ["found"]


@pytest.mark.parametrize("name", ["unifrom", "uniform-", "uniform-latency", "baseline-params", "-params"])
def test_unknown_rival_is_refused(name: str) -> None:
    with pytest.raises(RunError, match=f"nothing named '{name}' to compare with"):
        Finals(RECIPE, 5, 1, (name,))


def test_one_cost_of_a_rival_can_be_asked_for() -> None:
    assert named(("flat-macs", "uniform", "uniform-params")) == ["flat-macs", "uniform-params", "uniform-macs"]


def test_finals_are_paired_by_seed_and_written(tmp_path: Path) -> None:
    engine = FakeEngine()
    task, run = searched(tmp_path, engine)
    result = finish(task, engine, run, Finals(RECIPE, 5, 2, COMPARE))
    assert [row.name for row in result.rows] == ["found", *COMPARE]
    seeds = [call["seed"] for call in engine.calls]
    assert seeds[:2] == seeds[2:4] == seeds[4:]
    assert seeds[0] != seeds[1]
    scores = [(seed % 1000) / 1000 for seed in seeds[:2]]
    assert result.rows[0].top1 == pytest.approx(sum(scores) / 2)
    assert result.rows[0].top1_std == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    stored = json.loads((tmp_path / "comparison.json").read_text())
    assert [row["name"] for row in stored["rows"]] == ["found", *COMPARE]
    assert stored["differences"]["baseline"] == {
        "n": 2, "mean": 0.0, "error": 0.0, "reach": 0.0, "judgement": "can't tell",
    }  # fmt: skip
    assert final_rows(read_run(tmp_path)) == list(result.rows)
    assert result.model.read_bytes() == (tmp_path / "final/found-0/model.onnx").read_bytes()
    assert (tmp_path / "model.py").read_text().startswith("# {'a'")


def test_killed_final_training_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    engine = FakeEngine()
    task, run = searched(tmp_path, engine)
    engine.kill_at = 1
    with pytest.raises(KeyboardInterrupt):
        finish(task, engine, run, Finals(RECIPE, 5, 1, COMPARE))
    checkpoint = tmp_path / "final/baseline-0/training.safetensors"
    assert checkpoint.read_text() == "half"
    engine.kill_at = None
    finish(task, engine, run, Finals(RECIPE, 5, 1, COMPARE))
    assert [call["final"] for call in engine.calls[2:]] == [{"a": 32, "b": 48}, engine.calls[3]["final"]]
    assert not checkpoint.exists()
    done = len(engine.calls)
    finish(task, engine, run, Finals(RECIPE, 5, 1, COMPARE))
    assert len(engine.calls) == done


def test_what_two_rivals_have_in_common_is_trained_once(tmp_path: Path) -> None:
    engine = FakeEngine()
    task, run = searched(tmp_path, engine)
    own = task.space.widths
    widths = {"found": [own, own], "baseline": [own, own], "uniform-params": [own, {"a": 16, "b": 48}]}
    rivalry = {name: [Decision(each) for each in of] for name, of in widths.items()}
    rows = train_finals(engine, run, Finals(RECIPE, 5, 2), rivalry, 0, task.progress)
    assert [call["final"] for call in engine.calls] == [own, own, {"a": 16, "b": 48}]
    assert rows[0].scores == rows[1].scores
    assert [event.file for event in run.record.finals] == [
        f"final/{name}/model.onnx" for name in (*["found-0", "found-1"] * 2, "found-0", "uniform-params-1")
    ]
    assert read_run(tmp_path).finals == run.record.finals
    train_finals(engine, run, Finals(RECIPE, 5, 2), rivalry, 0, task.progress)
    assert len(engine.calls) == 3


def test_other_recipe_trains_again_and_drops_the_checkpoint(tmp_path: Path) -> None:
    engine = FakeEngine()
    task, run = searched(tmp_path, engine)
    finish(task, engine, run, Finals(RECIPE, 5, 1, ("baseline",)))
    engine.kill_at = 2
    with pytest.raises(KeyboardInterrupt):
        finish(task, engine, run, Finals({"lr": 0.2}, 5, 1, ()))
    checkpoint = tmp_path / "final/found-0/training.safetensors"
    assert checkpoint.read_text() == "half"
    engine.kill_at = 3
    with pytest.raises(KeyboardInterrupt):
        finish(task, engine, run, Finals({"lr": 0.3}, 5, 1, ()))
    rows = finish(task, engine, run, Finals({"lr": 0.3}, 5, 1, ())).rows
    assert len(engine.calls) == 5
    assert [call["goes_on"] for call in engine.calls[2:]] == [False, False, True]
    assert [row.name for row in rows] == ["found"]
    assert [event.cancels for event in run.log if isinstance(event, VoidEvent)] == [(8, 9)]
    assert [event.recipe for event in run.log if isinstance(event, FinalEvent)][-1] == {"lr": 0.3, "epochs": 5}


def test_a_killed_comparison_has_the_events_of_one_that_was_not(tmp_path: Path) -> None:
    logs = []
    for name, kill_at in (("calm", None), ("cut", 1)):
        engine = FakeEngine()
        task, run = searched(tmp_path / name, engine)
        engine.kill_at = kill_at
        if kill_at is not None:
            with pytest.raises(KeyboardInterrupt):
                finish(task, engine, run, Finals(RECIPE, 5))
            run = runs.resume(tmp_path / name, {})
        finish(task, engine, run, Finals(RECIPE, 5))
        logs.append((tmp_path / name / "events.jsonl").read_bytes())
    assert logs[0] == logs[1]


def test_failed_final_training_is_left_out(tmp_path: Path) -> None:
    engine = FakeEngine()
    task, run = searched(tmp_path, engine)
    engine.failing = {1: "diverged"}
    rows = finish(task, engine, run, Finals(RECIPE, 5, 1, COMPARE)).rows
    assert [row.name for row in rows] == ["found", "uniform-params"]


def test_without_final_training_costs_are_compared(tmp_path: Path) -> None:
    engine = FakeEngine()
    task, run = searched(tmp_path, engine)
    result = finish(task, engine, run, None)
    assert [(row.name, row.top1) for row in result.rows] == [("baseline", None), ("found", run.record.trials[2].score)]
    assert result.trial == 2
    assert result.model.read_bytes() == (tmp_path / "trials/002/model.onnx").read_bytes()
    assert not (tmp_path / "comparison.json").exists()


def test_best_widths_that_no_trial_trained_are_made(tmp_path: Path) -> None:
    engine = FakeEngine()
    run = runs.create(tmp_path, {}, {})
    engine.save(toy({"a": 32, "b": 48}), tmp_path / "input.onnx")
    task = Task("greedy", Greedy(trials=9, best_by="group"), SPACE, engine, MEMBERS, 3, Progress(9, 2, quiet=True))
    run_method(task, run)
    result = finish(task, engine, run, None)
    assert json.loads(result.model.read_text())["widths"] == result.widths
    if result.trial is None:
        assert json.loads(result.model.read_text())["weight"] > 0


def test_search_without_one_good_trial_is_an_error(tmp_path: Path) -> None:
    run = runs.create(tmp_path, {}, {})
    engine = FakeEngine(failing={0: "diverged", 1: "diverged"})
    engine.save(toy({"a": 32, "b": 48}), tmp_path / "input.onnx")
    task = Task("greedy", Greedy(trials=2), SPACE, engine, MEMBERS, 3, Progress(2, 2, quiet=True))
    run_method(task, run)
    with pytest.raises(RunError, match=r"no trial of .* worked; the last one: diverged"):
        finish(task, engine, run, None)


def test_table_shows_counts_and_spread() -> None:
    found = {"1": 0.91, "2": 0.89, "3": 0.9}
    flat = {"1": 0.86, "2": 0.84, "3": 0.851}
    rows = [Row("found", 1234567, 5e7, 0.9, 0.01, 0.0015, scores=found), Row("flat-macs", 12, 10, scores=flat)]
    console = Console(width=120, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(rows, "after 5 epochs"))
    text = console.export_text()
    for piece in ("1,234,567", "50M", "90.00% ± 0.58%", "1.50 ms", "after 5 epochs", "flat at equal MACs",
                  "better: +4.97 ± 0.03"):  # fmt: skip
        assert piece in text
