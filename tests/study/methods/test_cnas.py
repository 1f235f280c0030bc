"""CNAS in a run: one event an epoch, the same after a kill, and a model that reads what was decided."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from chanc.analysis import analyze  # noqa: E402
from chanc.errors import RunError  # noqa: E402
from chanc.ir import load, save  # noqa: E402
from chanc.rewriter import rewrite  # noqa: E402
from chanc.runs import EpochEvent, best, read_run  # noqa: E402
from chanc.study.methods.registry import make, trains_itself  # noqa: E402
from chanc.study.presets import PRESETS  # noqa: E402
from chanc.study.study import search  # noqa: E402
from chanc.testing.blocks import concat_cell  # noqa: E402
from chanc.testing.graphs import Graph  # noqa: E402
from chanc.training.edge_pruning import Pruning  # noqa: E402

TRAIN = {"batch_size": 32, "lr": 0.1, "crop_padding": 1, "flip": False, "device": "cpu"}
OPTIONS = {"sparsity": 0.3, "gamma": 0.2, "batches": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = Graph(seed=0)
    d = graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}).conv(4, bias=False).bn().relu()
    path = tmp_path_factory.mktemp("cnas") / "cell.onnx"
    save(graph.ir(concat_cell(d, 8, 8).gap().flatten().gemm(10)), path)
    return path


def run(model: Path, out: Path, **asked: Any) -> Any:
    options = {**OPTIONS, **asked.pop("options", {})}
    asked = {"data": "digits", "epochs": 1, "limit_train": 120, "holdout": 0.2, "train": TRAIN, **asked}
    return search(model, algo="cnas", out=out, options=options, **asked)


def log(path: Path) -> bytes:
    return (path / "events.jsonl").read_bytes()


def test_its_options() -> None:
    method = make("cnas")
    assert trains_itself("cnas")
    assert (method.sparsity, method.gamma, method.saliency, method.batches, method.tune_lr, method.consumers) == (
        0.5, 0.1, "taylor", 50, 1e-4, "*")  # fmt: skip
    for wrong, told in (({"sparsity": 1.0}, "sparsity"), ({"gamma": 0.0}, "gamma"), ({"saliency": "l1"}, "unknown")):
        with pytest.raises(ValueError, match=told):
            make("cnas", **wrong)


@pytest.mark.parametrize("name", ["cnas", "cnas-densenet"])
def test_presets_are_what_the_paper_says(name: str) -> None:
    """SGDR whose cycles of 10, 20, 40 and 80 epochs are 150, and of 10 to 320 are 630; the rest is ours."""
    preset = PRESETS[name]
    recipe = {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 2e-4, "lr": 0.05,
              "schedule": "sgdr", "final_lr": 1e-4, "restart_epochs": 10, "restart_factor": 2}  # fmt: skip
    assert recipe.items() <= preset.train.items()
    assert recipe.items() <= preset.final.items()
    assert (preset.train["epochs"], preset.final_epochs) == (sum(10 * 2**k for k in range(4)),
                                                             sum(10 * 2**k for k in range(6)))  # fmt: skip
    method = make(preset.algo, **preset.options)
    assert (method.gamma, method.saliency) == (0.1, "taylor")
    assert make("cnas", **PRESETS["cnas"].options).sparsity == pytest.approx(1 - 0.46)


def test_a_run(tmp_path: Path, model: Path) -> None:
    """What its events tell: the inputs that are left, step by step, and which units went; best.onnx reads less."""
    path = tmp_path / "run"
    made = run(model, path).model
    record, analysis = read_run(path), analyze(model, fold=False)
    kinds = [event.kind for event in record.events]
    assert kinds == ["start", *["epoch"] * len(record.of(EpochEvent)), "state"]
    found, events = best(record), record.of(EpochEvent)
    assert found is not None
    edges = found.decision.edges
    left = [event.metrics["left"] for event in events]
    assert left[0] == {"inputs": 48, "params": analysis.params}
    assert [one["inputs"] for one in left[1:-1]] == [int(48 * 0.8**k) for k in range(1, len(left) - 1)]
    assert left[-1]["params"] <= 0.7 * analysis.params < left[-2]["params"]
    cut: dict[tuple[str, str], set[int]] = {}
    for event in events:
        for name, groups in event.state.get("cut", {}).items():
            for group, units in groups.items():
                cut.setdefault((name, group), set()).update(units)
    for (name, group), units in cut.items():
        kept = set(edges[name][group])
        assert not kept & units
        assert sorted(kept | units) == list(range(analysis.group(group).units.size))
    assert events[0].state["fixed"].keys() == {"w_1"}
    assert [line.id for line in record.timing if line.id.startswith("epoch")][:2] == ["epoch 0", "epoch 1"]
    assert analyze(made).params < analysis.params
    assert (path / "model.py").exists()


@pytest.mark.nightly
@pytest.mark.parametrize("at", [0, 1, 2, -1])
def test_a_run_killed_at_an_epochs_end_goes_on(
    tmp_path: Path, model: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While that epoch's state is written, or before the end is."""
    save_state = Pruning.save

    def die(net: Pruning, path: Path) -> None:
        if path.name == f"00{at}.safetensors":
            raise KeyboardInterrupt
        save_state(net, path)

    run(model, tmp_path / "calm")
    if at < 0:
        shutil.copytree(tmp_path / "calm", tmp_path / "cut")
        (tmp_path / "cut" / "events.jsonl").write_bytes(b"".join(log(tmp_path / "cut").splitlines(keepends=True)[:-1]))
    else:
        with monkeypatch.context() as patch:
            patch.setattr(Pruning, "save", die)
            with pytest.raises(KeyboardInterrupt):
                run(model, tmp_path / "cut")
        assert log(tmp_path / "cut").count(b"\n") == 1 + at
    search(out=tmp_path / "cut", resume=True)
    assert log(tmp_path / "cut") == log(tmp_path / "calm")


@pytest.mark.nightly
@pytest.mark.parametrize("saliency", ["reciprocal", "squared", "elementwise", "random"])
def test_what_it_ends_with_is_what_was_judged(
    tmp_path: Path, model: Path, saliency: str, monkeypatch: pytest.MonkeyPatch, same
) -> None:
    """The lowered network says what the zeroed one says, in onnxruntime; the weights are the model's where asked."""
    ended: list[ir.Model] = []
    trained = Pruning.trained
    monkeypatch.setattr(Pruning, "trained", lambda net: ended.append(trained(net)) or ended[-1])
    result = run(model, tmp_path / "run", options={"saliency": saliency, "sparsity": 0.5}, from_weights=True)
    same(
        ended[0], result.model, tolerance=1e-5
    )  # 6e-8 was measured: sums in another order
    again = rewrite(load(result.model), scale=0.5).model
    assert analyze(again).params < analyze(result.model).params


@pytest.mark.nightly
def test_final_trainings_at_equal_params(tmp_path: Path, model: Path) -> None:
    """From scratch and from the weights of the search, other edges, and unpruned networks; zeros stay zeros."""
    result = run(model, tmp_path / "run", final_epochs=1, final_seeds=2, compare=("baseline", "uniform", "random"))
    rows = {row.name: row for row in result.rows}
    assert list(rows) == ["found", "baseline", "uniform-params", "uniform-macs", "random-params", "tuned"]
    record = read_run(tmp_path / "run")
    left = record.of(EpochEvent)[-1].metrics["left"]["params"]
    assert rows["found"].params == rows["tuned"].params == left
    for name in ("uniform-params", "random-params"):
        assert rows[name].params == pytest.approx(left, rel=0.1)
    assert rows["baseline"].params == analyze(model).params
    finals = {event.id: event for event in record.finals}
    assert ["from_weights" in finals[f"{name}-0"].recipe for name in ("found", "tuned", "baseline")] == [
        False, True, False]  # fmt: skip
    assert finals["random-params-0"].decision != finals["random-params-1"].decision
    found = finals["found-0"].decision
    again = rewrite(load(record.path / "edges" / "trained.onnx"), {"format": 2, "edges": listed(found.edges)}).model
    for name in ("found-0", "tuned-0"):
        assert analyze(record.path / finals[name].file).params == analyze(again).params
    before = log(record.path)
    search(out=record.path, resume=True)
    assert log(record.path) == before


def listed(edges: Any) -> dict[str, dict[str, list[int]]]:
    return {name: {group: list(units) for group, units in of.items()} for name, of in edges.items()}


def test_it_takes_no_budget(tmp_path: Path, model: Path) -> None:
    with pytest.raises(RunError, match="takes no budget"):
        run(model, tmp_path / "run", max_macs=1000)
