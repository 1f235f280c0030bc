"""Pruning by edges: each layer drops inputs of its own, the lowered model is within the budget, and a run goes on."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

import chanc  # noqa: E402
from chanc.analysis import analyze  # noqa: E402
from chanc.cli import cli  # noqa: E402
from chanc.errors import PlanError  # noqa: E402
from chanc.pruning import loop  # noqa: E402
from chanc.pruning.edge_order import Limits, Order, _ratios, readers_of  # noqa: E402
from chanc.pruning.edges import cut_edges, floors_of, inputs_read  # noqa: E402
from chanc.report import write_report  # noqa: E402
from chanc.rewriter.edges import chains  # noqa: E402
from chanc.runs import read_run  # noqa: E402
from chanc.testing import builders  # noqa: E402


@pytest.fixture(autouse=True)
def _moving_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """On small networks zeros are cheaper than any cut."""
    monkeypatch.setattr(chains, "CUT", 0.0)
    monkeypatch.setattr(chains, "POINT", 0.0)


def two_readers(width: int = 16) -> onnx.ModelProto:
    """[N, 6] -> hidden units -> two layers, one hardly reads the first half, one the second -> [N, 8]."""
    rng = np.random.default_rng(0)
    shapes = {"w": (6, width), "v1": (width, 4), "v2": (width, 4)}
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    counts = np.repeat([1e-4, 1.0], width // 2)[:, None]
    weights |= {"v1": weights["v1"] * counts, "v2": weights["v2"] * counts[::-1]}
    body = "h = MatMul (x, w) r = Relu (h) a = MatMul (r, v1) b = MatMul (r, v2) y = Concat <axis = 1> (a, b)"
    return builders.build("float[N,6] x", "float y", body, {n: w.astype(np.float32) for n, w in weights.items()})


@pytest.fixture(scope="module")
def samples() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal((64, 6)).astype(np.float32)} for _ in range(5)]


@pytest.mark.parametrize("by_data", [True, False])
def test_each_layer_drops_what_it_hardly_reads(samples: list[dict[str, np.ndarray]], by_data: bool) -> None:
    """No channel could go: each is read. Of 96 + 128 params 64 are columns that hardly count."""
    said: list[str] = []
    asked = {"data": samples, "epochs": 0, "say": said.append} if by_data else {}
    done = chanc.prune(two_readers(), max_params=160, edges=True, **asked)
    step = done.steps[-1]
    assert (done.params, step.params) == (224, 160)
    assert step.params == analyze(done.model).params
    assert step.macs == analyze(done.model).macs
    assert step.widths == {"w": (6, 6), "v1": (16, 8), "v2": (16, 8)}
    onnx.checker.check_model(done.model, full_check=True)
    if by_data:
        assert step.scores["cut"] > 0.999
        assert "of 2 layers refitted" in said[-1]  # though the tensor that they read is what it was


def test_channels_that_nothing_reads_go_with_what_makes_them() -> None:
    done = chanc.prune(two_readers(), max_params="40%", edges=True, round_to=1)
    step = done.steps[-1]
    assert step.params <= 0.4 * done.params
    weights = {tensor.name: tuple(tensor.dims) for tensor in done.model.graph.initializer}
    assert weights["w"][1] < 16
    assert {name: pair[1] for name, pair in step.widths.items()} == {
        "w": 6, "v1": weights["v1"][0], "v2": weights["v2"][0]}  # fmt: skip


@pytest.mark.nightly
def test_steps_are_kept_and_a_stopped_run_goes_on(
    samples: list[dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"max_macs": "60%", "data": samples, "epochs": 1, "steps": 2, "round_to": 2, "edges": True}
    whole = chanc.prune(two_readers(), run=tmp_path / "whole", **asked)
    assert whole.steps[0].macs > whole.steps[1].macs
    assert whole.steps[1].macs <= 0.6 * whole.macs
    assert whole.steps[1].widths["v1"][0] == whole.steps[0].widths["v1"][1]
    monkeypatch.setattr(loop.Steps, "_keep", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        chanc.prune(two_readers(), run=tmp_path / "run", **asked)
    monkeypatch.undo()
    monkeypatch.setattr(chains, "CUT", 0.0)
    monkeypatch.setattr(chains, "POINT", 0.0)
    again = chanc.prune(two_readers(), run=tmp_path / "run", resume=True, **asked)
    assert again.after == whole.after
    assert read_run(tmp_path / "run").settings["edges"] is True
    assert "What layers read" in write_report(tmp_path / "run").read_text()
    assert [step.widths for step in read_run(tmp_path / "run").steps] == [
        {name: pair[1] for name, pair in step.widths.items()} for step in whole.steps]  # fmt: skip


def test_what_makes_no_sense() -> None:
    with pytest.raises(PlanError, match="a latency is met by channels"):
        chanc.prune(two_readers(), max_latency="50%", edges=True)
    with pytest.raises(PlanError, match="a --ratio is the share of a group's width"):
        chanc.prune(two_readers(), max_params="50%", ratios={"w": 0.5}, edges=True)
    with pytest.raises(PlanError, match="10 params can't be met by edges: the least that can be had is "):
        chanc.prune(two_readers(), max_params=10, edges=True)
    with pytest.raises(PlanError, match="no layer of this model can drop channels"):
        chanc.prune(two_readers(), max_params="50%", keep=["w"], edges=True)


def test_by_the_command(tmp_path: Path) -> None:
    onnx.save(two_readers(), tmp_path / "model.onnx")
    asked = ["prune", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "out.onnx"), "--edges"]
    done = CliRunner().invoke(cli, [*asked, "--max-params", "160"])
    assert done.exit_code == 0, done.output
    assert re.search(r"params +224 +160 +71\.4 %", done.output)
    refused = CliRunner().invoke(cli, [*asked, "--force", "--max-latency", "50%"])
    assert str(refused.exception) == "edges are cut under --max-params and --max-macs; a latency is met by channels"


def test_the_least_that_layers_read() -> None:
    """A tenth of their inputs, rounded up, or what is asked for; of the original where a model was pruned before."""
    model = two_readers(40)
    assert floors_of(analyze(model)) == {"h:1": 1, "a:1": 4, "b:1": 4}
    least = cut_edges(chanc.load(model), None, "l2", {}, max_params=analyze(model).params * 0.2, round_to=1)
    assert min(new for _, new in inputs_read(chanc.load(model), least.model, {}).values()) >= 4
    with pytest.raises(PlanError, match="can't be met by edges"):
        chanc.prune(model, max_params="20%", min_width=20, edges=True)


def test_ratios() -> None:
    """S = 10: without the 1 9 are left and 10^2 / 9 is lost, of 10; then the 2, the 3; the strongest input stays."""
    scores, inputs = np.array([3.0, 1.0, 4.0, 2.0]), np.ones(4, dtype=np.int64)
    found = _ratios(scores, np.full(4, 2.0), inputs, 1)
    lost = [100 / left - 100 / there for there, left in ((10, 9), (9, 7), (7, 4))]
    assert found == pytest.approx([lost[2] / 2, lost[0] / 2, np.inf, lost[1] / 2])
    assert np.isfinite(_ratios(scores, np.ones(4), inputs * 4, 5)).sum() == 2
    assert np.isinf(_ratios(scores, np.zeros(4), inputs, 1)).all()  # what saves nothing stays
    assert _ratios(np.zeros(3), np.ones(3), inputs[:3], 1).tolist() == [0, 0, np.inf]


def test_an_order_of_edges() -> None:
    """Of 16 each, 11 and 14 would be left: 12 and 16 are, by the last that went; four of one reader come back."""
    readers = list(readers_of(analyze(two_readers()), {}))
    gone = np.array([3, 17, 1, 0, 2, 18, 4])
    order = Order(readers, gone, grain=4)
    assert [reader.name for reader in readers] == ["a:1", "b:1"]
    assert order.kept(gone) == {"a:1": {"w": list(range(4, 16))}}
    assert order.kept(gone[:2]) == {}
    assert order.given_back(gone, 0).tolist() == [3, 17, 18]


def test_limits() -> None:
    whole = analyze(two_readers())
    assert Limits(224, 448).shares(whole) == {"params": 1.0, "macs": 0.5}
    assert Limits(224).met(whole)
    assert not Limits(223, 448).met(whole)
