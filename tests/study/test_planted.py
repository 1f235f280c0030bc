"""The planted defect: what is planted, how a search that starts there is judged, and a real one by night."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chanc.analysis import Analysis, analyze
from chanc.cli import main
from chanc.errors import ModelError
from chanc.ir import load
from chanc.study import Run
from chanc.study.parts import space_of
from chanc.study.planted import NEEDED, SEEDS, Defect, Planted, plant, planted
from chanc.testing.graphs import Graph


def analysed(path: Path) -> Analysis:
    return analyze(load(path), fold=False)


def chain(*sizes: int) -> Analysis:
    """A chain of convolutions of the given widths, and a classifier."""
    graph = Graph()
    x = graph.input("x", [1, 3, 8, 8], dynamic={0: "n"})
    for size in sizes:
        x = x.conv(size).relu()
    return analyze(graph.model(x.gap().flatten().gemm(10)), fold=False)


def test_the_group_of_most_layers_is_starved_at_equal_params(digits_model: Path) -> None:
    analysis = analysed(digits_model)
    defect = plant(analysis)
    assert (defect.group, defect.own, defect.starved, defect.goal) == ("stem.weight", 16, 4, 10.0)
    space = space_of(analysis)
    assert space.count(defect.widths, "params") == defect.params == pytest.approx(analysis.params, rel=0.01)
    others = [defect.widths[gid] / own for gid, own in space.widths.items() if gid != defect.group]
    assert min(others) > 2
    assert max(others) / min(others) < 1.1


def test_of_equal_groups_the_middle_one_is_starved() -> None:
    analysis = chain(16, 24, 32)
    defect = plant(analysis)
    middle = [group.id for group in space_of(analysis).resizable][1]
    assert (defect.group, defect.own, defect.starved) == (middle, 24, 6)


@pytest.mark.parametrize("sizes", [(16,), (2, 2)])
def test_without_room_for_a_defect_it_is_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="no defect can be planted"):
        plant(chain(*sizes))


def judged(*widths: int) -> Planted:
    return Planted(Defect("g", 16, 4, {"g": 4}, 100), "greedy", {"greedy": widths, "random": (4, 4, 10, 4, 9)})


@pytest.mark.parametrize(
    ("widths", "passed"), [((10, 10, 10, 10, 4), True), ((16, 32, 9, 9, 10), False), ((9, 9, 9, 9, 9), False)]
)
def test_four_of_five_seeds_are_needed(widths: tuple[int, ...], passed: bool) -> None:
    found = judged(*widths)
    assert (found.passed, found.regained("random")) == (passed, 1)
    assert ("passes" in found.verdict, "fails" in found.verdict) == (passed, not passed)


class Searches:
    """Takes the place of a search, and finds the starved group wider by a factor."""

    def __init__(self, wider: float) -> None:
        self.wider, self.asked = wider, []  # type: ignore[var-annotated]

    def __call__(self, model: Path, **asked: Any) -> Run:
        self.asked.append(asked)
        widths = {group.id: group.size for group in analysed(model).groups if group.resizable}
        factor = self.wider if asked["algo"] == "greedy" else 1.0
        widths["stem.weight"] = round(widths["stem.weight"] * factor)
        return Run(asked["out"], (), widths, 0, ())


@pytest.mark.parametrize(("wider", "passed"), [(1.5, False), (4.0, False), (10.0, True)])
def test_searches_start_at_the_planted_widths_and_are_judged_at_equal_cost(
    tmp_path: Path, digits_model: Path, wider: float, passed: bool
) -> None:
    fake = Searches(wider)
    found = planted(digits_model, search=fake, algo="greedy", out=tmp_path, epochs=2, options={"gamma": 0.5})
    assert found.passed == passed
    assert found.regained("random") == 0
    assert found.widths["greedy"][0] < 4 * wider  # the larger network was brought to equal cost
    assert [asked["out"].name for asked in fake.asked] == [f"{algo}-seed{n}" for algo in ("greedy", "random")
                                                           for n in range(SEEDS)]  # fmt: skip
    params = found.defect.params
    assert fake.asked[0]["options"] == {
        "start_width": 0, "min_width": 2, "max_width": 4 * max(found.defect.widths.values()), "target_params": params,
        "round_to": 2, "gamma": 0.5,
    }  # fmt: skip
    assert set(fake.asked[-1]["options"]) == {"min_width", "max_width", "round_to", "target_params"}
    assert (fake.asked[0]["trials"], fake.asked[0]["epochs"], fake.asked[0]["resume"]) == (10, 2, False)
    assert analysed(tmp_path / "planted.onnx").params == params
    assert json.loads((tmp_path / "planted.json").read_text())["passed"] is passed


def test_one_training_is_as_long_as_ten_trials(tmp_path: Path, digits_model: Path) -> None:
    """Of a method that changes widths inside; what it is compared with has trials."""
    fake = Searches(1.0)
    found = planted(digits_model, search=fake, algo="flexcharts", out=tmp_path, epochs=2)
    first, last = fake.asked[0], fake.asked[-1]
    assert (first["epochs"], "trials" in first, last["epochs"], last["trials"]) == (20, False, 2, 10)
    assert first["options"] == {
        "min_width": 2, "max_width": 4 * max(found.defect.widths.values()), "round_to": 2, "step": 1, "mask_lr": 0.3,
        "mask_mode": "sampled", "target_params": found.defect.params,
    }  # fmt: skip


def test_what_the_test_sets_itself_is_wrong_usage(digits_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["search", str(digits_model), "--planted", "--final-epochs", "3"])
    assert stop.value.code == 2
    assert "--planted sets --final-epochs itself" in capsys.readouterr().err


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_real_search_is_compared_with_random_widths(
    tmp_path: Path, digits_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["search", str(digits_model), "--planted", "--select-by", "score", "--epochs", "3", "--batch-size", "64",
             "--lr", "0.1", "--out", str(tmp_path)]  # fmt: skip
    main(asked)
    found = json.loads((tmp_path / "planted.json").read_text())
    regained = {algo: sum(width >= 10 for width in widths) for algo, widths in found["widths"].items()}
    assert regained["greedy"] >= max(NEEDED, regained["random"])
    said = capsys.readouterr().out
    assert f"with random widths in {regained['random']}" in said
    logs = {path: path.read_bytes() for path in tmp_path.glob("*/events.jsonl")}
    assert len(logs) == 2 * SEEDS
    main(asked)
    assert capsys.readouterr().out == said
    assert {path: path.read_bytes() for path in logs} == logs
