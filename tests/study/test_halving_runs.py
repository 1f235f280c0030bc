"""Successive halving and targets through the driver: what is trained, from which weights, and after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from chanc import runs
from chanc.api import search
from chanc.errors import RunError
from chanc.runs import RunDir, best, read_run
from chanc.study.driver import Task as Search
from chanc.study.driver import run_method
from chanc.study.methods.halving import Halving
from chanc.study.methods.registry import make
from chanc.study.pools import Done, Job
from chanc.study.pools.local import LocalPool
from chanc.study.progress import Progress
from chanc.testing.engines import MEMBERS, SPACE, FakeEngine, toy

METHODS = ("shape", "evolve", "optuna")


def go(path: Path, engine: FakeEngine, name: str, **options: Any) -> RunDir:
    if (path / "config.json").exists():
        run = runs.resume(path, {})
    else:
        run = runs.create(path, {}, {}, {"input.onnx": lambda file: engine.save(toy(SPACE.widths), file)})
    method = make(name, trials=12, **options)
    assert isinstance(method, Halving)
    run_method(Search(name, method, SPACE, engine, MEMBERS, 0, Progress(12, 2, quiet=True)), run)
    return run


@pytest.mark.parametrize("name", METHODS)
def test_who_goes_on_continues_its_own_weights(tmp_path: Path, name: str) -> None:
    engine = FakeEngine()
    record = go(tmp_path / "run", engine, name).record
    asked = [trial for state in record.of(runs.StateEvent) for trial in state.asked]
    further = [trial for trial in asked if trial.parent is not None]
    assert further
    for trial in asked:
        call = engine.calls[trial.id]
        assert call["epochs"] == trial.epochs
        assert call["fresh"] == (trial.parent is None)
    for trial in further:
        before = json.loads((tmp_path / f"run/trials/{trial.parent:03d}/model.onnx").read_text())
        assert engine.calls[trial.id]["weight"] == before["weight"]
        assert engine.calls[trial.id]["widths"] == before["widths"]
    found = best(record)
    assert found is not None
    assert found.trial in {trial.id for trial in further}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kill_at", [5, *(pytest.param(at, marks=pytest.mark.nightly) for at in (1, 9))])
def test_killed_and_resumed_is_the_same_search(tmp_path: Path, name: str, kill_at: int) -> None:
    calm, cut = tmp_path / "calm", tmp_path / "cut"
    go(calm, FakeEngine(failing={3: "no luck"}), name)
    with pytest.raises(KeyboardInterrupt):
        go(cut, FakeEngine(failing={3: "no luck"}, kill_at=kill_at), name)
    go(cut, FakeEngine(failing={3 - kill_at: "no luck"}), name)
    assert (cut / "events.jsonl").read_bytes() == (calm / "events.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["greedy", pytest.param("conet", marks=pytest.mark.nightly), "shape"])
def test_every_trial_of_a_search_costs_the_target(tmp_path: Path, digits_model: Path, name: str) -> None:
    run = search(digits_model, algo=name, data="digits", trials=3, epochs=1, limit_train=100, out=tmp_path / "run",
                 options={"target_macs": "200%", "round_to": 1, "min_width": 2},
                 train={"batch_size": 32, "device": "cpu"})  # fmt: skip
    own = read_run(run.path).settings["graph"]["macs"]
    for trial in run.trials:
        assert abs(trial.macs / (2 * own) - 1) <= 0.01
    assert len(run.trials) == 3


def test_kept_groups_keep_their_width_and_tied_ones_go_together(tmp_path: Path, digits_model: Path) -> None:
    run = search(digits_model, algo="random", data="digits", trials=2, epochs=1, limit_train=100, out=tmp_path / "run",
                 keep=["pointwise*"], ties={"stem*": "both", "inner*": "both"}, options={"target_params": "50%"},
                 train={"batch_size": 32, "device": "cpu"})  # fmt: skip
    for trial in run.trials:
        assert "pointwise.weight" not in trial.decision.widths
        assert trial.decision.widths["stem.weight"] == trial.decision.widths["inner.weight"]


def test_a_latency_is_measured_and_met(tmp_path: Path, digits_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chanc.study.torch_engine import TorchEngine

    monkeypatch.setattr(TorchEngine, "latency", lambda engine, model: engine.price(model).macs * 1e-9)
    run = search(digits_model, algo="flat", data="digits", trials=1, epochs=1, limit_train=100, out=tmp_path / "run",
                 options={"target_latency": "300%", "round_to": 1},
                 train={"batch_size": 32, "device": "cpu"})  # fmt: skip
    own = read_run(run.path).settings["graph"]["macs"]
    assert abs(run.trials[0].macs / (3 * own) - 1) <= 0.06


class InlinePool:
    """Runs jobs in this process; the first start of each of `lost` ends without a trace."""

    def __init__(self, lost: set[str] | None = None) -> None:
        self.names: list[list[str]] = []
        self._lost = lost or set()

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        self.names.append([job.name for job in jobs])
        for job in jobs:
            if job.name in self._lost:
                self._lost.discard(job.name)
                done(job, "killed by signal 9")
            else:
                job.function(*job.arguments)
                done(job, "")


def side_by_side(model: Path, out: Path, **more: Any) -> bytes:
    search(model, algo="evolve", data="digits", trials=5, epochs=1, limit_train=100, out=out, at_once=3,
           options={"eta": 2}, train={"batch_size": 32, "device": "cpu"}, **more)  # fmt: skip
    return (out / "events.jsonl").read_bytes()


def test_side_by_side_and_one_after_the_other_are_the_same_search(tmp_path: Path, digits_model: Path) -> None:
    pool = InlinePool(lost={"trial 2"})
    one = side_by_side(digits_model, tmp_path / "one")
    assert side_by_side(digits_model, tmp_path / "crew", pool=pool) == one
    assert pool.names == [["trial 1", "trial 2", "trial 3"], ["trial 2"], ["trial 4", "trial 5"]]
    assert not [*(tmp_path / "crew").rglob("outcome.json")]
    assert [line.id for line in read_run(tmp_path / "crew").timing] == ["start", *"01234", "end"]


@pytest.mark.nightly
def test_a_trial_whose_process_is_lost_again_and_again_ends_the_search(tmp_path: Path, digits_model: Path) -> None:
    class Hopeless(InlinePool):
        def run(self, jobs: Sequence[Job], done: Done) -> None:
            for job in jobs:
                done(job, "killed by signal 9")

    with pytest.raises(RunError, match="trial 1 left no outcome: killed by signal 9"):
        side_by_side(digits_model, tmp_path / "run", pool=Hopeless())
    assert side_by_side(digits_model, tmp_path / "one") == side_by_side_resumed(tmp_path / "run")


def side_by_side_resumed(out: Path) -> bytes:
    search(out=out, resume=True)
    return (out / "events.jsonl").read_bytes()


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Sums over two threads differ in their last bits from those over one, and so do all weights after them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.nightly
@pytest.mark.usefixtures("_one_thread")
def test_in_processes_of_this_machine(tmp_path: Path, digits_model: Path) -> None:
    one = side_by_side(digits_model, tmp_path / "one")
    assert side_by_side(digits_model, tmp_path / "two", pool=LocalPool(2, threads=1)) == one
