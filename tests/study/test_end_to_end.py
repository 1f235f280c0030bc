"""The whole way on digits: model in, trials, best model out; killed and resumed; budgets."""

from __future__ import annotations

import io
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from chanc.api import search
from chanc.cli import main
from chanc.errors import RunError
from chanc.files import checksum
from chanc.rewriter.provenance import PLAN, SOURCE, TRACE
from chanc.runs import Record, TrialEvent, read_run
from chanc.runs.loggers import LOGGERS, register
from chanc.runs.loggers.rows import Row
from chanc.runs.sweeps import read_cell
from chanc.study import Run
from chanc.study.progress import Progress
from chanc.study.sweep import cells, run_cell

TRAIN = {"batch_size": 32, "lr": 0.1, "crop_padding": 1, "flip": False, "device": "cpu"}
WIDTHS = {"min_width": 4, "start_width": 8}
FLAGS = ["--epochs", "1", "--limit-train", "200", "--batch-size", "32", "--lr", "0.1", "--crop-padding", "1",
         "--no-flip", "--min-width", "4", "--start-width", "8", "--device", "cpu"]  # fmt: skip


def small_search(model: Path, out: Path, **changed: Any) -> Run:
    options = {**WIDTHS, **changed.pop("options", {})}
    base: dict[str, Any] = {"data": "digits", "trials": 2, "epochs": 1, "limit_train": 200, "train": TRAIN}
    return search(model, out=out, options=options, **{**base, **changed})


def trials(out: Path) -> tuple[TrialEvent, ...]:
    return read_run(out).trials


def test_two_trials_on_digits(tmp_path: Path, digits_model: Path) -> None:
    out = tmp_path / "run"
    run = small_search(digits_model, out, final_epochs=1, compare=("baseline", "uniform", "random"))
    assert [trial.decision.widths for trial in trials(out)] == [dict.fromkeys(run.widths, width) for width in (8, 24)]
    measured = {"stem.weight", "inner.weight", "outer.weight", "pointwise.weight"}
    assert all(set(trial.epochs[0].metrics) == measured for trial in trials(out))
    assert [row.name for row in run.rows] == ["found", "baseline", "uniform-params", "uniform-macs", "random-params",
                                              "random-macs"]  # fmt: skip
    assert run.rows[1].params == 5706
    assert read_run(out).environment["precision"] == "float32"
    assert {path.name for path in out.iterdir()} >= {"config.json", "best.onnx", "model.py", "model.safetensors",
                                                     "report.html", "comparison.json"}  # fmt: skip


def test_the_best_model_runs_everywhere(tmp_path: Path, digits_model: Path) -> None:
    out = tmp_path / "run"
    run = small_search(digits_model, out)
    best = onnx.load(run.model)
    made = {entry.key: entry.value for entry in best.metadata_props}
    assert made[SOURCE] == checksum(out / "input.onnx")
    assert json.loads(made[PLAN]) == {"format": 2, "groups": dict(run.widths)}
    assert TRACE not in made
    shapes = {weight.name: tuple(weight.dims) for weight in best.graph.initializer}
    assert shapes["stem.weight"] == (24, 1, 3, 3)
    assert shapes["depthwise.weight"] == (24, 1, 3, 3)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    images = np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)
    expected = onnxruntime.InferenceSession(str(run.model)).run(None, {"image": images})[0]
    assert "chanc" not in (out / "model.py").read_text()
    source = runpy.run_path(str(out / "model.py"))
    net = [v for v in source.values() if isinstance(v, type) and issubclass(v, torch.nn.Module)][-1]()
    net.load_state_dict(load_file(out / "model.safetensors"))
    found = net.eval()(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_tracker_gets_each_trial_once(tmp_path: Path, digits_model: Path) -> None:
    taken: list[Row] = []

    class Tracker:
        def __init__(self, record: Record) -> None:
            self.last = len(taken) - 1

        def log(self, number: int, row: Row) -> None:
            taken.append(row)

        def close(self) -> None:
            """Nothing to close."""

    common: dict[str, Any] = {"data": "digits", "epochs": 1, "limit_train": 100, "out": tmp_path / "run"}
    with LOGGERS.scratch():
        register("tracker", package="json")(Tracker)
        search(digits_model, algo="random", trials=1, train=TRAIN, log=["tracker"], **common)
        search(trials=2, resume=True, out=tmp_path / "run")
    assert [row.step for row in taken if "trial/score" in row.figures] == [0, 1]
    assert [row.step for row in taken if "epoch/loss" in row.figures] == [0, 1]


@pytest.mark.parametrize(
    "algo", ["sa", "random", *(pytest.param(algo, marks=pytest.mark.nightly) for algo in ("conet", "uniform"))]
)
def test_other_methods(tmp_path: Path, digits_model: Path, algo: str) -> None:
    options = {"start_width": 8} if algo in ("sa", "conet") else {}
    run = search(digits_model, algo=algo, data="digits", trials=2, epochs=2, limit_train=120, train=TRAIN,
                 options={"min_width": 4, **options}, out=tmp_path / "run")  # fmt: skip
    assert len(trials(tmp_path / "run")) == 2
    assert run.model.exists()


def test_budget_holds_in_every_trial(tmp_path: Path, digits_model: Path) -> None:
    run = small_search(digits_model, tmp_path / "run", max_params=4000, options={"start_width": 64})
    assert [3000 < trial.params <= 4000 for trial in run.trials] == [True, True]


def test_carried_learning_rates(tmp_path: Path, digits_model: Path) -> None:
    small_search(digits_model, tmp_path / "run", carry_optimizer=True, epochs=2)
    last, first = (trials(tmp_path / "run")[trial].epochs[epoch].lr for trial, epoch in ((0, 1), (1, 0)))
    assert first != 0.1
    assert last != first


def test_what_a_run_ran_with_is_kept(tmp_path: Path, digits_model: Path) -> None:
    said_in_options: dict[str, Any] = {"trials": None, "options": {"trials": 1}, "epochs": None}
    small_search(digits_model, tmp_path / "run", **said_in_options, train={**TRAIN, "epochs": 1})
    assert [len(trial.epochs) for trial in trials(tmp_path / "run")] == [1]
    kept = read_run(tmp_path / "run").environment
    assert kept["versions"]["torch"] == torch.__version__
    assert kept["threads"] == torch.get_num_threads()
    assert kept["simd"] == torch.backends.cpu.get_cpu_capability()
    assert kept["matmul_precision"] == "highest"
    assert kept["blas"]


def test_a_flipped_byte_in_a_trials_model_is_refused(tmp_path: Path, digits_model: Path) -> None:
    small_search(digits_model, tmp_path / "run", trials=1)
    path = tmp_path / "run/trials/000/model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match=r"000/model\.onnx is damaged: its checksum is not that of line 3"):
        small_search(digits_model, tmp_path / "run", trials=1, resume=True)


def test_a_picture_that_fails_is_said_and_the_search_goes_on(tmp_path: Path, digits_model: Path) -> None:
    def fail(path: Path) -> None:
        assert read_run(path).trials
        raise ValueError("no\nink")

    text = io.StringIO()
    small_search(digits_model, tmp_path / "run", on_change=fail, quiet=False, console=Console(file=text, width=200))
    assert text.getvalue().count("no report: no ink") == 1
    assert not (tmp_path / "run/report.html").exists()


def test_resume_refuses_other_settings(tmp_path: Path, digits_model: Path) -> None:
    small_search(digits_model, tmp_path / "run")
    with pytest.raises(RunError, match=r"gamma was 0.8, now it is 0.5"):
        search(out=tmp_path / "run", resume=True, options={"gamma": 0.5})
    with pytest.raises(RunError, match=r"train.lr was 0.1, now it is 0.2"):
        small_search(digits_model, tmp_path / "run", resume=True, train={**TRAIN, "lr": 0.2})
    with pytest.raises(RunError, match="was made with 2 trials: it can have more of them, not 1"):
        search(out=tmp_path / "run", resume=True, trials=1)
    with pytest.raises(RunError, match=r'data was "digits", now it is "fashion-mnist"'):  # before it is looked for
        search(out=tmp_path / "run", resume=True, data="fashion-mnist")


def test_a_run_is_lengthened_from_its_folder_alone(tmp_path: Path, digits_model: Path) -> None:
    out = tmp_path / "run"
    small_search(digits_model, out, trials=1, final_epochs=1, compare=("baseline",), normalise="0.5/0.25")
    digits_model.unlink()
    before = read_run(out)
    assert search(out=out, resume=True).trials == before.trials
    assert read_run(out).log == before.log
    run = search(out=out, resume=True, trials=2)
    assert (len(run.trials), run.trials[0]) == (2, before.trials[0])
    assert [row.name for row in run.rows] == ["found", "baseline"]
    assert (read_run(out).settings["trials"], read_run(out).asked["trials"]) == (2, 2)
    assert search(out=out, resume=True, compare=("uniform-params",)).rows[-1].name == "uniform-params"
    assert search(out=out, resume=True).rows[-1].name == "uniform-params"


def test_the_multiple_of_widths_that_suits_a_gpu_is_the_runs_own(
    tmp_path: Path, digits_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as gpu:
        gpu.setattr("chanc.study.study.width_grain", lambda *asked: {"round_to": 8})
        told = io.StringIO()
        small_search(digits_model, tmp_path / "run", trials=1, console=Console(file=told, width=200), quiet=False)
    assert "note: widths are multiples of 8, as suits a GPU; --round-to says otherwise" in told.getvalue()
    assert read_run(tmp_path / "run").settings["round_to"] == 8
    search(out=tmp_path / "run", resume=True, trials=2)
    assert all(width % 8 == 0 for trial in trials(tmp_path / "run") for width in trial.decision.widths.values())


def test_a_search_without_a_model_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="needs a model to start from"):
        search(out=tmp_path / "run")
    with pytest.raises(RunError, match="holds no run to resume"):
        search(out=tmp_path / "run", resume=True)


def test_a_cell_of_a_sweep_is_a_search(tmp_path: Path, digits_model: Path) -> None:
    (cell,) = cells(["greedy"], {"gamma": [0.5]}, [3])
    path = tmp_path / cell.name
    run_cell(str(digits_model), cell, path, {"data": "digits", "trials": 1, "epochs": 1, "limit_train": 200,
                                             "options": WIDTHS, "train": TRAIN})  # fmt: skip
    done = read_cell(path)
    assert done is not None
    assert (done.cell, done.trials, done.rows.keys()) == (cell.name, 1, {"found", "baseline"})
    assert {"algo": "greedy", "gamma": 0.5, "seed": 3, "start_width": 8}.items() <= read_run(path).settings.items()


@pytest.mark.nightly
def test_cells_of_a_sweep_share_their_baseline(tmp_path: Path, digits_model: Path) -> None:
    common = {"data": "digits", "trials": 1, "epochs": 1, "limit_train": 200, "options": WIDTHS, "train": TRAIN,
              "final_epochs": 1, "compare": ["baseline"]}  # fmt: skip
    todo = cells(["greedy"], {"gamma": [0.5, 0.8], "final_lr": [0.05, 0.1]}, [3])
    for cell in todo:
        run_cell(str(digits_model), cell, tmp_path / cell.name, common)
    rows = [done.rows for cell in todo if (done := read_cell(tmp_path / cell.name)) is not None]
    baselines = [row["baseline"].scores for row in rows]
    assert baselines[0] == baselines[2] != baselines[1] == baselines[3]
    assert len(list((tmp_path / "finals").glob("*/model.onnx"))) == 4  # one trial finds the same widths with any gamma
    before = read_run(tmp_path / todo[0].name)
    alone = search(digits_model, algo="greedy", seed=3, out=tmp_path / "alone", **{**common, "final": {"lr": 0.05},
                   "options": {**WIDTHS, "gamma": 0.5}})  # fmt: skip
    assert read_run(alone.path).finals == before.finals


# Commands one after the other, until one fails; "!" before one: killed in the middle of its second trial.
COMMANDS = """
import os, signal, sys
from chanc.cli import main
from chanc.study.progress import Progress

def killing(progress, *told):
    if len(progress.rows) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

for asked in {commands!r}:
    if asked[0] == "!":
        Progress.epoch = killing
    main(asked[asked[0] == "!":])
"""


def run_commands(*commands: list[str]) -> tuple[int, str]:
    """Exit code and output of commands in a process of its own, of one thread: more add up in another order."""
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS.format(commands=commands)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.nightly
def test_killed_in_the_second_trial_and_resumed_is_the_same(tmp_path: Path, digits_model: Path) -> None:
    calm, cut = tmp_path / "calm", tmp_path / "cut"
    asked = ["search", str(digits_model), "--quiet", "--trials", "3", *FLAGS, "--out"]
    assert run_commands(["!", *asked, str(cut)]) == (-signal.SIGKILL, "")
    assert len(trials(cut)) == 1
    code, said = run_commands([*asked, str(cut), "--resume"], [*asked, str(calm)])
    assert code == 0, said
    assert (cut / "events.jsonl").read_bytes() == (calm / "events.jsonl").read_bytes()
    assert (cut / "best.onnx").read_bytes() == (calm / "best.onnx").read_bytes()


def test_sigterm_says_how_to_go_on(
    tmp_path: Path, digits_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"

    def stopping(progress: Progress, *told: object) -> None:
        if len(progress.rows) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    def missed(number: int, frame: object) -> None:
        raise AssertionError("the search left SIGTERM to others")

    before = signal.signal(signal.SIGTERM, missed)
    try:
        monkeypatch.setattr(Progress, "epoch", stopping)
        with pytest.raises(SystemExit) as stop:
            main(["search", str(digits_model), "--trials", "3", *FLAGS, "--out", str(out)])
        assert signal.getsignal(signal.SIGTERM) is missed
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stop.value.code == 130
    assert f"`chanc search --resume --out {out}` goes on from there" in " ".join(capsys.readouterr().out.split())
    assert len(trials(out)) == 1


@pytest.mark.nightly
def test_a_search_whose_time_is_over_goes_on_within_the_trial(
    tmp_path: Path, digits_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calm, cut = tmp_path / "calm", tmp_path / "cut"
    asked = ["search", str(digits_model), "--trials", "2", *FLAGS, "--epochs", "2", "--final-epochs", "1", "--compare",
             "none", "--out"]  # fmt: skip
    main([*asked, str(calm)])
    usual = Progress.epoch

    def slow(progress: Progress, epoch: int, loss: float, top1: float) -> None:
        usual(progress, epoch, loss, top1)
        if progress.deadline is not None and epoch == 0:
            progress.deadline = 0.0

    monkeypatch.setattr(Progress, "epoch", slow)
    capsys.readouterr()
    main([*asked, str(cut), "--timeout", "1h"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"stopped by --timeout: `chanc search --resume --out {cut}` goes on from there" in said
    assert "the time is over after 0 trials" in said
    assert (cut / "trials/000/training.safetensors").exists()
    for trials_done in (1, 2):
        main(["search", "--resume", "--out", str(cut), "--timeout", "1h"])
        assert len(trials(cut)) == trials_done
        assert (cut / "best.onnx").exists()
    main(["search", "--resume", "--out", str(cut)])
    assert (cut / "events.jsonl").read_bytes() == (calm / "events.jsonl").read_bytes()
    assert not list(cut.glob("**/training.safetensors"))


def test_a_model_of_a_fixed_batch_is_searched_and_keeps_it(tmp_path: Path, digits_model: Path) -> None:
    model = onnx.load(digits_model)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    pooled = next(node for node in model.graph.node if node.op_type == "Flatten")
    pooled.op_type = "Reshape"
    pooled.input.append("shape")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 24]), "shape"))
    run = small_search(model, tmp_path / "run", trials=1)
    assert np.isfinite(run.trials[0].score)
    best = onnx.load(run.path / "best.onnx")
    assert best.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
