from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chanc.cli.options import Count
from chanc.cli.sweep import Values, command, open_pool
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
    assert seen["todo"] == ["greedy-target_params50000-gamma0.0-seed0", "greedy-target_params50000-gamma0.8-seed0",
                            "uniform-target_params50000-seed0"]  # fmt: skip
    assert (seen["trials"], seen["resume"], seen["attempts"]) == (3, False, 2)
    assert (seen["normalise"], seen["scale_pixels"]) == ("none", None)
    assert (seen["dims"], seen["shapes"]) == ({"H": 8}, {})
    assert seen["train"] == {"batch_size": None, "lr": 0.2}
    assert seen["options"] == {"min_width": None, "max_width": None, "round_to": 8}
    assert "3 cells, 2 at a time" in out.output
    assert "1,234  top-1 87.50%" in out.output
    assert isinstance(out.exception, ChancError)
    assert str(out.exception).startswith("1 of 3 cells failed: greedy-target_params50000-gamma0.8-seed0;")


def test_what_the_sweep_passes_on_is_what_the_search_takes() -> None:
    import inspect

    from chanc.study.study import search

    params = {param.name for param in command.params}
    own = {"algos", "seeds", "workers", "resume", "attempts", "batch_size", "lr", "min_width", "max_width", "round_to",
           "ray", "slurm", "time_limit"}  # fmt: skip
    assert params - own <= set(inspect.signature(search).parameters)


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
