from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from chanc.cli.axes import Values
from chanc.cli.options import Count
from chanc.cli.pools import open_pool
from chanc.cli.search import command as search_command
from chanc.cli.search import of_the_user
from chanc.cli.sweep import OF_THE_SWEEP, command, plan, searched
from chanc.errors import ChancError
from chanc.runs.rows import Row
from chanc.runs.sweeps import CellResult
from chanc.study import sweep as sweeps
from chanc.study.pools import ray, slurm
from chanc.study.pools.local import LocalPool
from chanc.study.pools.ray import Share
from chanc.study.sweep import Cell, SweepResult


def test_values() -> None:
    assert Values(float).convert("0, 0.5,0.8", None, None) == (0.0, 0.5, 0.8)
    assert Values(Count()).convert("250k,1M", None, None) == (250_000, 1_000_000)
    with pytest.raises(click.UsageError):
        Values(float).convert("0,half", None, None)


def test_cells_and_settings_reach_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def fake(model: str, todo: list[Cell], **given: object) -> SweepResult:
        seen.update(given, model=model, todo=[cell.name for cell in todo])
        row = CellResult(todo[0].name, "greedy", rows={"found": Row("found", params=1234, top1=0.875)})
        return SweepResult(tmp_path, [row], {todo[1].name: "TrialError: no luck"})

    monkeypatch.setattr(sweeps, "sweep", fake)
    text = "net.onnx --algo greedy,uniform --gamma 0,0.8 --target-params 50k --trials 3 --lr 0.2 --round-to 8"
    where = ["--dim", "H=8", "--normalise", "none", "--workers", "2", "--out", str(tmp_path)]
    out = CliRunner().invoke(command, [*text.split(), *where])
    assert seen["todo"] == ["greedy-gamma0.0-target_params50000-seed0", "greedy-gamma0.8-target_params50000-seed0",
                            "uniform-target_params50000-seed0"]  # fmt: skip
    assert (seen["trials"], seen["resume"], seen["attempts"]) == (3, False, 2)
    assert (seen["normalise"], seen["data"]) == ("none", "digits")
    assert "scale_pixels" not in seen
    assert (seen["dims"], seen["shapes"]) == ({"H": 8}, {})
    assert seen["train"] == {"lr": 0.2}
    assert seen["options"] == {"round_to": 8}
    assert "3 cells, 2 at a time" in out.output
    assert "1,234  top-1 87.50%" in out.output
    assert isinstance(out.exception, ChancError)
    assert str(out.exception).startswith("1 of 3 cells failed: greedy-gamma0.8-target_params50000-seed0;")


def planned(*words: str) -> tuple[list[Cell], dict[str, Any]]:
    context = command.make_context("sweep", ["m.onnx", *words])
    given = dict(context.params)
    for name in (*OF_THE_SWEEP, "model", "attempts"):
        given.pop(name, None)
    axes, seeds = given.pop("axes"), given.pop("seeds")
    with context:
        return plan(of_the_user(given), axes, seeds)


def refused(*words: str) -> str:
    """The last line of what is said of a bad command line."""
    out = CliRunner().invoke(command, ["m.onnx", *words])
    assert out.exit_code
    return str(out.exception) if isinstance(out.exception, ChancError) else out.output.splitlines()[-1]


def test_every_option_of_a_search_is_one_of_the_sweep() -> None:
    params = {param.name for param in command.get_params(click.Context(command))}
    wanted = {param.name for param in search_command.get_params(click.Context(search_command))}
    assert wanted - params == {"seed", "timeout", "planted", "quiet"}


def test_any_option_is_an_axis() -> None:
    text = ("--axis algo=greedy,sa --axis gamma=.5,.6 --axis lr=.03,.1 --axis transfer=grow,svd --axis reset=on,off "
            "--axis metric-of=change --axis select_by=loss --axis trials=3 --axis metric=quality --axis seed=4,7 "
            "--axis target-params=50k")  # fmt: skip
    todo, common = planned(*text.split())
    assert len(todo) == 2**6
    assert {(cell.algo, cell.seed) for cell in todo} == {("greedy", 4), ("greedy", 7), ("sa", 4), ("sa", 7)}
    assert todo[0].options == {"gamma": 0.5, "target_params": 50_000}
    assert todo[0].settings == {"lr": 0.03, "transfer": "grow", "reset": True, "metric_of": "change",
                                "select_by": "loss", "trials": 3, "metrics": ("quality",)}  # fmt: skip
    assert todo[0].name == ("greedy-lr0.03-transfergrow-resetTrue-metric_ofchange-select_byloss-trials3-metricsquality-"
                            "gamma0.5-target_params50000-seed4")  # fmt: skip
    assert common == {"data": "digits"}


def test_several_values_of_an_option_make_an_axis_and_one_is_everybodys() -> None:
    todo, common = planned("--lr", "0.03,0.1", "--batch-size", "32", "--final-lr", "0.1", "--reset", "--final-epochs",
                           "2", "--final-seeds", "3", "--compare", "baseline, flat", "--keep", "a.*", "--keep", "b")
    assert [cell.name for cell in todo] == ["greedy-lr0.03-seed0", "greedy-lr0.1-seed0"]
    assert common == {
        "data": "digits", "train": {"batch_size": 32}, "final": {"batch_size": 32, "lr": 0.1}, "reset": True,
        "final_epochs": 2, "final_seeds": 3, "compare": ["baseline", "flat"], "keep": ("a.*", "b"),
    }  # fmt: skip


def test_values_with_commas_have_semicolons_between_them() -> None:
    todo, common = planned("--axis", "compare=baseline,flat;none", "--axis", "normalise=none;0.5,0.5/0.2,0.2",
                           "--data", "a,b;")
    assert [cell.settings["compare"] for cell in todo] == [["baseline", "flat"]] * 2 + [[]] * 2
    assert [cell.settings["normalise"] for cell in todo] == ["none", "0.5,0.5/0.2,0.2"] * 2
    assert common == {"data": "a,b"}


def test_a_preset_brings_its_method() -> None:
    assert [cell.algo for cell in planned("--preset", "conet-resnet34")[0]] == ["conet"]
    todo, _ = planned("--preset", "conet-resnet34,conetv2-resnet34", "--delta", "0.01,0.02")
    assert [cell.name for cell in todo] == ["conet-presetconet-resnet34-delta0.01-seed0",
        "conet-presetconet-resnet34-delta0.02-seed0", "greedy-presetconetv2-resnet34-seed0"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--axis", "gama=0,1"), "a search has no option gama: did you mean gamma?"),
        (("--axis", "metricof=change"), "a search has no option metricof: did you mean metric-of?"),
        (("--axis", "gamma"), "write NAME=VALUES, as in --axis lr=0.03,0.1"),
        (("--axis", "gamma=,"), "write NAME=VALUES"),
        (("--axis", "gamma=0,half"), "'half' is not a valid float"),
        (("--axis", "transfer=sdv"), "no transfer 'sdv' (did you mean 'svd'?)"),
        (("--axis", "out=a,b"), "a search has no option out"),
        (("--axis", "gamma=0", "--axis", "gamma=1"), "there are two axes gamma"),
        (("--axis", "gamma=0", "--gamma", "1"), "--gamma is given twice"),
        (("--gama", "0"), "--gamma"),
        (("--algo", "greedy", "--delta", "0.1,0.2"), "no method or task of this sweep has an option 'delta'"),
    ],
)
def test_a_bad_axis_is_one_clear_line(words: tuple[str, ...], told: str) -> None:
    assert told in refused(*words)


def test_a_flag_takes_a_word() -> None:
    assert [cell.settings for cell in planned("--flip", "on,off")[0]] == [{"flip": True}, {"flip": False}]
    assert planned("--from-weights")[1]["from_weights"] is True


def test_what_the_sweep_passes_on_is_what_the_search_takes() -> None:
    import inspect

    from chanc.study.places import names, places
    from chanc.study.study import search

    taken = set(inspect.signature(search).parameters)
    for name in searched():
        if name != "algo":
            assert all((part or key) in taken for part, key in places(name)), name
    assert set(searched()) - {"algo", "seed"} <= set(names())


def test_where_the_cells_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, ...]] = []

    class Fake:
        share = Share(3, 1, 0)

        def __init__(self, *given: object) -> None:
            seen.append(given)

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(ray, "RayPool", Fake)
    monkeypatch.setattr(slurm, "SlurmPool", Fake)
    assert open_pool("o", None, "head:6379", None, None)[1] == 3
    assert open_pool("o", None, None, "gpu", 90)[1] == "all"
    assert open_pool("o", 8, None, "gpu", None)[1] == 8
    assert seen == [("head:6379", 0), ("gpu", Path("o/slurm"), 0, 90), ("gpu", Path("o/slurm"), 8, 0)]
    pool, at_once = open_pool("o", 2, None, None, None)
    assert isinstance(pool, LocalPool)
    assert (pool.workers, pool.gpus, at_once) == (2, (), 2)
    assert pool.threads >= 1
    for wrong in (("local", "gpu", None), ("local", None, 10)):
        with pytest.raises(click.UsageError):
            open_pool("o", 1, *wrong)


def test_a_bad_address_leaves_nothing_behind(tmp_path: Path) -> None:
    out = CliRunner().invoke(command, ["net.onnx", "--ray", "nowhere", "--out", str(tmp_path / "s")])
    assert isinstance(out.exception, ChancError)
    assert "'nowhere' is no address of a Ray" in str(out.exception)
    assert not (tmp_path / "s").exists()
