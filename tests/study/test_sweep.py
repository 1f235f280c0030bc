from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from chanc.errors import ModelError, RunError
from chanc.runs import Row, RunDir
from chanc.runs.sweeps import CellResult, read_cell, write_cell
from chanc.study.pools import Done, Job
from chanc.study.sweep import Cell, cells, run_cell, sweep, wait_until_free
from chanc.testing.builders import build


class InlinePool:
    """Runs jobs one by one, here."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        for job in jobs:
            self.names.append(job.name)
            try:
                job.function(*job.arguments)
            except SystemExit as stop:
                done(job, f"ended with exit code {stop.code}")
            else:
                done(job, "")


def succeed(model: str, cell: Cell, path: Path, common: Mapping[str, Any]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    options = {**cell.options, "seen": dict(common)}
    rows = {"found": Row("found", top1=0.5)}
    write_cell(path, CellResult(cell.name, cell.algo, cell.seed, rows=rows, options=options))


class FailsAtFirst:
    """A cell function that fails for the cell `name` until it was called `times` times."""

    def __init__(self, name: str, times: int) -> None:
        self.name, self.times = name, times

    def __call__(self, model: str, cell: Cell, path: Path, common: Mapping[str, Any]) -> None:
        if cell.name == self.name and self.times > 0:
            self.times -= 1
            path.mkdir(parents=True, exist_ok=True)
            (path / "error.txt").write_text("TrialError: no luck\n")
            raise SystemExit(1)
        succeed(model, cell, path, common)


TODO = cells(["greedy", "sa"], {"gamma": [0.0, 0.8]}, range(1))
NAMES = ["greedy-gamma0.0-seed0", "greedy-gamma0.8-seed0", "sa-gamma0.0-seed0", "sa-gamma0.8-seed0"]


def test_cells_are_all_combinations() -> None:
    assert [cell.name for cell in TODO] == NAMES
    assert len(cells(["greedy", "sa"], {"gamma": [0, 0.5, 0.6, 0.7, 0.8, 0.9]}, range(3))) == 36


def test_a_method_takes_only_its_own_axes() -> None:
    found = cells(["greedy", "uniform"], {"gamma": [0.5, 0.8], "low": [0.1]}, range(1))
    assert [cell.name for cell in found] == ["greedy-gamma0.5-seed0", "greedy-gamma0.8-seed0", "uniform-low0.1-seed0"]
    with pytest.raises(RunError, match="no method or task of this sweep has an option 'mu'"):
        cells(["greedy"], {"mu": [1]}, range(1))
    with pytest.raises(RunError, match="there is no search method 'gredy'"):
        cells(["gredy"], {}, range(1))


def test_a_task_takes_only_its_own_axes_and_the_search_all_others() -> None:
    found = cells(["greedy"], {"lr": [0.1, 0.2], "label_smoothing": [0.1], "gamma": [0.5]}, [7])
    assert [cell.name for cell in found] == [f"greedy-lr{lr}-label_smoothing0.1-gamma0.5-seed7" for lr in (0.1, 0.2)]
    assert found[0].settings == {"lr": 0.1, "label_smoothing": 0.1}
    with pytest.raises(RunError, match="a search has no option labelsmoothing: did you mean label-smoothing"):
        cells(["greedy"], {"labelsmoothing": [1]}, [0])


def test_a_preset_names_the_method_where_nobody_else_does() -> None:
    assert [cell.algo for cell in cells([], {}, [0], {"preset": "conet-darts7"})] == ["conet"]
    assert [cell.algo for cell in cells([], {"preset": ["conet-darts7", None]}, [0])] == ["conet", "greedy"]
    assert [cell.algo for cell in cells(["sa"], {}, [0], {"preset": "conetv2-darts7"})] == ["sa"]


def test_two_cells_never_share_a_folder() -> None:
    with pytest.raises(RunError, match="two cells of this sweep have the folder greedy-dataa_b-seed0"):
        cells(["greedy"], {"data": ["a/b", "a b"]}, [0])


def test_settings_reach_the_search_where_they_belong(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def search(model: str, **given: Any) -> Any:
        seen.update(given)
        given["out"].mkdir()
        return SimpleNamespace(stopped=False, rows=(), outcomes=(), widths={})

    (cell,) = cells(["greedy"], {"batch_size": [8], "gamma": [0.5], "final_lr": [0.3], "trials": [2]}, [1])
    common = {"train": {"lr": 0.1}, "options": {"round_to": 8}, "data": "digits"}
    run_cell("m.onnx", cell, tmp_path / cell.name, common, search)
    assert seen == {
        "algo": "greedy", "seed": 1, "out": tmp_path / cell.name, "resume": False, "shelf": tmp_path / "finals",
        "data": "digits", "trials": 2, "options": {"round_to": 8, "gamma": 0.5}, "train": {"lr": 0.1, "batch_size": 8},
        "final": {"batch_size": 8, "lr": 0.3},
    }  # fmt: skip
    done = read_cell(tmp_path / cell.name)
    assert done is not None
    assert (done.settings, done.options) == ({"batch_size": 8, "final_lr": 0.3, "trials": 2}, {"gamma": 0.5})
    assert done.trials == 0


def test_every_cell_once(tmp_path: Path, digits_model: Path) -> None:
    pool = InlinePool()
    result = sweep(digits_model, TODO, out=tmp_path / "s", pool=pool, function=succeed, trials=3)
    assert pool.names == NAMES
    assert [row.cell for row in result.rows] == NAMES
    assert result.rows[3].options["gamma"] == 0.8
    assert result.rows[0].options["seen"] == {"trials": 3}
    assert json.loads((tmp_path / "s/results.json").read_text()) == [row.flat() for row in result.rows]


def test_sizes_of_open_axes_reach_every_cell(tmp_path: Path) -> None:
    body = "a = Conv(x, w)\ng = GlobalAveragePool(a)\nf = Flatten(g)\ny = Gemm(f, v)"
    onnx.save(build("float[N,1,H,W] x", "float[N,10] y", body, {"w": (8, 1, 3, 3), "v": (8, 10)}), tmp_path / "m.onnx")
    where = {"out": tmp_path / "s", "pool": InlinePool(), "function": succeed}
    with pytest.raises(ModelError, match="no open axis of the model's inputs is called 'Q'"):
        sweep(tmp_path / "m.onnx", TODO, dims={"Q": 8}, **where)
    result = sweep(tmp_path / "m.onnx", TODO, dims={"H": 8}, shapes={"x": [1, 1, 8, 9]}, **where)
    assert result.rows[0].options["seen"] == {"dims": {"H": 8}, "shapes": {"x": [1, 1, 8, 9]}}


def test_failed_cells_are_retried_and_finished_ones_are_not(tmp_path: Path, digits_model: Path) -> None:
    pool, said = InlinePool(), []
    result = sweep(digits_model, TODO, out=tmp_path / "s", pool=pool, function=FailsAtFirst(NAMES[1], 1),
                   say=said.append)  # fmt: skip
    assert pool.names == [*NAMES, NAMES[1]]
    assert not result.failed
    assert f"{NAMES[1]}: failed: TrialError: no luck" in said
    assert len(result.rows) == 4


def test_cells_that_keep_failing_are_named(tmp_path: Path, digits_model: Path) -> None:
    result = sweep(digits_model, TODO, out=tmp_path / "s", pool=InlinePool(), function=FailsAtFirst(NAMES[1], 9))
    assert result.failed == {NAMES[1]: "TrialError: no luck"}
    assert len(result.rows) == 3


def test_resumed_sweep_runs_what_is_left(tmp_path: Path, digits_model: Path) -> None:
    sweep(digits_model, TODO, out=tmp_path / "s", pool=InlinePool(), function=FailsAtFirst(NAMES[2], 9), attempts=1)
    pool = InlinePool()
    result = sweep(digits_model, TODO, out=tmp_path / "s", pool=pool, function=succeed, resume=True)
    assert pool.names == [NAMES[2]]
    assert len(result.rows) == 4


def test_another_sweep_is_refused(tmp_path: Path, digits_model: Path) -> None:
    sweep(digits_model, TODO, out=tmp_path / "s", pool=InlinePool(), function=succeed, trials=3)
    with pytest.raises(RunError, match="holds a sweep already: add --resume"):
        sweep(digits_model, TODO, out=tmp_path / "s", pool=InlinePool(), function=succeed, trials=3)
    with pytest.raises(RunError, match=r"common.trials was 3, now it is 4"):
        sweep(digits_model, TODO, out=tmp_path / "s", pool=InlinePool(), function=succeed, resume=True, trials=4)


def test_bad_model_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        sweep(tmp_path / "none.onnx", TODO, out=tmp_path / "s", pool=InlinePool(), function=succeed)
    assert not (tmp_path / "s").exists()


def test_what_is_finished_is_read_from_the_folder(tmp_path: Path, digits_model: Path) -> None:
    class Liar(InlinePool):
        """Says of every worker that it was lost, after it has done its work."""

        def run(self, jobs: Sequence[Job], done: Done) -> None:
            super().run(jobs, lambda job, problem: done(job, "lost"))

    pool, said = Liar(), []
    result = sweep(digits_model, TODO, out=tmp_path / "s", pool=pool, function=succeed, say=said.append)
    assert pool.names == NAMES
    assert not result.failed
    assert said == [f"{name}: done" for name in NAMES]
    nothing = sweep(digits_model, TODO, out=tmp_path / "t", pool=InlinePool(), function=lambda *_: None)
    assert nothing.failed == {name: f"it left no result in {tmp_path / 't' / name}" for name in NAMES}


def test_a_cell_waits_for_a_worker_that_was_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, naps, orphan = tmp_path / "cell", list[float](), ExitStack()
    path.mkdir()
    orphan.enter_context(RunDir(path).locked())

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 5:
            write_cell(path, CellResult("the orphan", "greedy"))
            orphan.close()

    monkeypatch.setattr("chanc.study.sweep.time", SimpleNamespace(monotonic=lambda: sum(naps), sleep=sleep))
    wait_until_free(path, patience=1.2)
    assert naps == [0.5] * 3
    run_cell("no.onnx", TODO[0], path, {})  # finished meanwhile: nothing is left to do, or to go wrong
    assert naps == [0.5] * 5
    assert read_cell(path) == CellResult("the orphan", "greedy")
    with pytest.raises(RunError, match="a sweep needs a file system that all machines share"):
        run_cell("no.onnx", TODO[0], tmp_path / "elsewhere" / "cell", {})
