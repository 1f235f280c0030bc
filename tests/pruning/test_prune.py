"""Pruning as a whole: budgets are met, what was learned stays, and a stopped run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

pytest.importorskip("torch")

import chanc
from chanc.errors import DataError, PlanError, RunError, TrialError, VerifyError
from chanc.files import checksum
from chanc.ir import copy_model
from chanc.pruning import STAGES, cut, loop, steps
from chanc.rewriter import Rewrite
from chanc.rewriter.provenance import PLAN, SOURCE, TRACE, VERSION
from chanc.runs import fsck, read_run
from chanc.testing import builders


def network(width: int = 16) -> onnx.ModelProto:
    """[N, 6] -> two hidden layers, of which the second half of units hardly counts -> [N, 4]."""
    rng = np.random.default_rng(0)
    counts = np.repeat([1.0, 1e-3], width // 2)[:, None]
    shapes = {"w1": (6, width), "w2": (width, width), "w3": (width, 4)}
    weights = {name: rng.standard_normal(shape) / shape[0] ** 0.5 for name, shape in shapes.items()}
    weights |= {name: weights[name] * counts for name in ("w2", "w3")}
    body = "h = MatMul (x, w1) r = Relu (h) g = MatMul (r, w2) s = Relu (g) y = MatMul (s, w3)"
    return builders.build("float[N,6] x", "float y", body, {n: w.astype(np.float32) for n, w in weights.items()})


@pytest.fixture(scope="module")
def samples() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal((64, 6)).astype(np.float32)} for _ in range(5)]


def test_what_hardly_counts_goes_without_a_loss(samples: list[dict[str, np.ndarray]]) -> None:
    done = chanc.prune(network(), max_macs="45%", data=samples, epochs=0, round_to=1)
    assert done.steps[-1].macs <= 0.45 * done.macs
    assert done.before == 1.0
    assert list(done.steps[-1].scores) == ["cut", "refitted"]
    assert done.steps[-1].scores["cut"] > 0.99
    assert done.after == done.steps[-1].scores["refitted"]
    assert isinstance(done.model, onnx.ModelProto)
    onnx.checker.check_model(done.model)
    assert {entry.key for entry in done.model.metadata_props} == {VERSION, PLAN, TRACE}


def test_a_training_that_makes_it_worse_is_undone(samples: list[dict[str, np.ndarray]]) -> None:
    said: list[str] = []
    done = chanc.prune(network(), max_macs="45%", data=samples, epochs=1, lr=3.0, round_to=1, say=said.append)
    assert list(done.steps[-1].scores) == ["cut", "refitted"]
    assert done.after == done.steps[-1].scores["refitted"]
    assert any(line.startswith("note: the training is undone") and line.endswith("refitted alone 1") for line in said)


def test_a_refit_that_makes_it_worse_is_undone(
    samples: list[dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(self: steps.Recovery, before: ir.Model, done: Rewrite) -> ir.Model:
        made = copy_model(done.model)
        for value in made.graph.initializers.values():
            if value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT:
                value.const_value = ir.tensor(-value.const_value.numpy(), name=value.name)
        return made

    monkeypatch.setattr(steps.Recovery, "_refitted", spoilt)
    said: list[str] = []
    done = chanc.prune(network(), max_macs="45%", data=samples, epochs=0, round_to=1, say=said.append)
    assert list(done.steps[-1].scores) == ["cut"]
    assert done.after == done.steps[-1].scores["cut"] > 0.99
    assert any(line.startswith("note: the refit is undone") for line in said)


def test_halves_are_run_as_halves(samples: list[dict[str, np.ndarray]]) -> None:
    model, said = network(), list[str]()
    for tensor in model.graph.initializer:
        half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    chanc.prune(model, max_macs="45%", data=samples, epochs=0, round_to=1, say=said.append)
    assert any(line.startswith("reconstructed") for line in said)


def test_by_weights_alone(tmp_path: Path) -> None:
    said: list[str] = []
    onnx.save(network(), tmp_path / "in.onnx")
    done = chanc.prune(tmp_path / "in.onnx", max_params="50%", say=said.append)
    assert done.model.metadata_props[SOURCE] == checksum(tmp_path / "in.onnx")
    assert done.steps[-1].params <= 0.5 * done.params
    assert done.before is None
    assert done.after is None
    assert "weights alone" in said[0]


def test_steps_are_kept_and_a_stopped_run_goes_on(
    samples: list[dict[str, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"max_macs": "40%", "data": samples, "epochs": 1, "steps": 2, "round_to": 1}
    whole = chanc.prune(network(), run=tmp_path / "whole", **asked)
    assert [list(step.scores)[:2] for step in whole.steps] == [list(STAGES)[:2]] * 2
    plain, calls = loop.Recovery.step, []

    def stopped(self: loop.Recovery, *args: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop.Recovery, "step", stopped)
    with pytest.raises(KeyboardInterrupt):
        chanc.prune(network(), run=tmp_path / "run", **asked)
    again = chanc.prune(network(), run=tmp_path / "run", resume=True, **asked)
    assert len(calls) == 3
    logs = [(tmp_path / name / "events.jsonl").read_text() for name in ("whole", "run")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["kind"] for line in logs[0].splitlines()] == ["start", "step", "step"]
    assert again.after == whole.after
    assert again.model == whole.model
    found = {entry.key: entry.value for entry in again.model.metadata_props}
    assert set(found) == {VERSION, PLAN}
    widths = {name: new for name, (_, new) in whole.steps[-1].widths.items()}
    assert json.loads(found[PLAN]) == {"format": 2, "groups": widths}
    assert not list((tmp_path / "run").rglob("training.safetensors"))
    weights = tmp_path / "run" / "trials" / "000" / "model.onnx"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(RunError, match="fsck"):
        chanc.prune(network(), run=tmp_path / "run", resume=True, **asked)
    fsck.mend(tmp_path / "run")
    mended = chanc.prune(network(), run=tmp_path / "run", resume=True, **asked)
    assert mended.after == whole.after
    assert [step.id for step in read_run(tmp_path / "run").steps] == [0, 1]
    with pytest.raises(RunError, match="steps was 2, now it is 3"):
        chanc.prune(network(), run=tmp_path / "run", resume=True, **{**asked, "steps": 3})
    with pytest.raises(RunError, match="holds a run already"):
        chanc.prune(network(), run=tmp_path / "run", **asked)


def test_what_makes_no_sense(samples: list[dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PlanError, match="can't be met"):
        chanc.prune(network(), max_params=1, data=samples, epochs=0)
    with pytest.raises(RunError, match="at least one step"):
        chanc.prune(network(), max_params="50%", steps=0)
    with pytest.raises(PlanError, match="no channel group matches 'w9'"):
        chanc.prune(network(), max_params="50%", keep=["w9"])
    monkeypatch.setattr(loop.Recovery, "score", lambda self, model: (_ for _ in ()).throw(TrialError("no number")))
    with pytest.raises(TrialError, match="no number"):
        chanc.prune(network(), max_params="50%", data=samples)


def test_a_wrong_rewrite_is_never_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = cut.rewrite

    def wrong(*args: object, **options: object) -> object:
        done = plain(*args, **options)  # type: ignore[arg-type]
        weight = done.model.graph.initializers["w3"]
        weight.const_value = type(weight.const_value)(weight.const_value.numpy() + 1, name="w3")
        return done

    monkeypatch.setattr(cut, "rewrite", wrong)
    with pytest.raises(VerifyError, match="something else"):
        chanc.prune(network(), max_params="50%")


def test_open_axes_are_counted_as_the_data_have_them() -> None:
    body = "c = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu (c) y = Conv (r, v)"
    model = builders.build("float[N,2,H,W] x", "float y", body, {"w": (16, 2, 3, 3), "b": (16,), "v": (3, 16, 1, 1)})
    images = [{"x": np.random.default_rng(0).standard_normal((8, 2, 6, 10)).astype(np.float32)}]
    done = chanc.prune(model, max_macs="50%", data=images, epochs=0)
    assert done.macs == 6 * 10 * (16 * 2 * 9 + 3 * 16)
    assert done.steps[-1].macs == done.macs / 2


def detector(batch: str) -> onnx.ModelProto:
    """A backbone, boxes and scores of 16 places, non-maximum suppression of one image, and the boxes that it picked."""
    body = """
    c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b) r = Relu (c)
    p = Conv (r, wb) q = Conv (r, ws)
    flat = Reshape (p, four) turned = Transpose <perm = [0, 2, 1]> (flat) boxes = Add (turned, grid)
    scores = Reshape (q, two)
    picked = NonMaxSuppression (boxes, scores, most, overlap, least)
    numbers = Gather <axis = 1> (picked, last) rows = Squeeze (boxes, first) y = Gather (rows, numbers)
    """
    rng = np.random.default_rng(0)
    weights = {
        "w": (16, 3, 3, 3), "b": (16,), "wb": (4, 16, 1, 1), "ws": (2, 16, 1, 1), "four": np.array([0, 4, 16]),
        "two": np.array([0, 2, 16]), "grid": rng.uniform(0, 9, (1, 16, 4)).astype(np.float32), "most": np.array([5]),
        "overlap": np.array([0.5], dtype=np.float32), "least": np.array([1.0], dtype=np.float32),
        "last": np.array(2), "first": np.array([0]),
    }  # fmt: skip
    return builders.build(f"float[{batch},3,8,8] x", "float[K,4] y", body, weights)


@pytest.mark.parametrize("batch", ["N", "1"])
def test_a_detector_is_mended_in_front_of_its_end(batch: str) -> None:
    images = [{"x": np.random.default_rng(0).standard_normal((48, 3, 8, 8)).astype(np.float32)}]
    said: list[str] = []
    done = chanc.prune(detector(batch), max_macs="50%", data=images, epochs=4, say=said.append)
    assert done.score_name == "agreement"
    assert done.steps[-1].macs <= done.macs / 2
    assert any(line.startswith("reconstructed") for line in said), "it picks other boxes, and other numbers of them"
    assert done.after is not None
    assert done.after > done.steps[-1].scores["cut"]
    (boxes,) = chanc.backends.ort.run(done.model, {"x": images[0]["x"][:1]})
    assert boxes.ndim == 2
    assert boxes.shape[1] == 4
    size = done.model.graph.input[0].type.tensor_type.shape.dim[0]
    assert (size.dim_param or str(size.dim_value)) == batch


def recurrent(first: str) -> onnx.ModelProto:
    """Frames [T, 6], and a state [1, 1, 8] of an LSTM that goes through them, as voice detectors have it."""
    body = """
    wide = MatMul (x, w) r = Relu (wide) u = Unsqueeze (r, one)
    all, hn, cn = LSTM <hidden_size = 8> (u, wi, wr, b, , h, c)
    flat = Squeeze (all, ends) p = MatMul (flat, v) y = Sigmoid (p)
    """
    weights = {"w": (6, 16), "wi": (1, 32, 16), "wr": (1, 32, 8), "b": (1, 64), "v": (8, 1),
               "one": np.array([1]), "ends": np.array([1, 2])}  # fmt: skip
    inputs = f"float[{first},6] x, float[1,1,8] h, float[1,1,8] c"
    return builders.build(inputs, "float y, float hn, float cn", body, weights)


@pytest.mark.parametrize("whole", [pytest.param(False, marks=pytest.mark.nightly), True])
def test_a_state_beside_frames(whole: bool) -> None:
    """The frames' axis is open, the state's first one is no batch: sample by sample, of one frame or of several."""
    rng = np.random.default_rng(0)
    frames = (15, 5, 6) if whole else (48, 6)
    state = (15, 1, 1, 8) if whole else (48, 1, 8)
    shapes = {"x": frames, "h": state, "c": state}
    data = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    done = chanc.prune(recurrent("T"), max_macs="60%", data=[data], epochs=2, round_to=1)
    assert done.steps[-1].macs <= 0.6 * done.macs
    assert done.macs == 6 * 16 + 32 * 24 + 8
    assert done.after is not None
    assert done.after > 0.95


def test_a_model_that_knows_of_no_batch() -> None:
    """A picture [3, 8, 8] and a gain: each sample is a run of its own."""
    body = "u = Unsqueeze (x, at) c = Conv (u, w, b) r = Relu (c) s = Mul (r, gain) p = Conv (s, v) y = Squeeze (p, at)"
    weights = {"w": (16, 3, 3, 3), "b": (16,), "v": (4, 16, 1, 1), "at": np.array([0])}
    model = builders.build("float[3,8,8] x, float gain", "float y", body, weights)
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal((10, 3, 8, 8)).astype(np.float32),
            "gain": rng.uniform(0.5, 2, 10).astype(np.float32)}  # fmt: skip
    for source in ([data], "random"):
        done = chanc.prune(model, max_macs="50%", data=source, epochs=0, limit_train=8, limit_test=2)
        assert done.steps[-1].scores["refitted"] > done.steps[-1].scores["cut"]
        assert chanc.backends.ort.run(done.model, {"x": data["x"][0], "gain": data["gain"][0]})[0].shape == (4, 6, 6)
    with pytest.raises(DataError, match="the model takes 'gain' once for a whole batch: give a run for each sample"):
        chanc.prune(model, max_macs="50%", data=[{"x": data["x"][:, 0], "gain": data["gain"]}])


def test_steps_together_leave_a_tenth_of_each_group(samples: list[dict[str, np.ndarray]]) -> None:
    """Two branches, of which one hardly counts: each step would take nine tenths of what is left of it."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (6, 40), "v1": (40, 4), "w2": (6, 40), "v2": (40, 4)}
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    weights["v1"] /= 1e5
    body = "h = MatMul (x, w1) r = Relu (h) a = MatMul (r, v1) g = MatMul (x, w2) s = Relu (g) b = MatMul (s, v2)"
    model = builders.build("float[N,6] x", "float y", f"{body} y = Add (a, b)", weights)
    done = chanc.prune(model, max_macs="40%", data=samples, epochs=0, refit=False, steps=3, round_to=1)
    assert done.steps[-1].macs <= 0.4 * done.macs
    assert done.steps[-1].widths["w1"][1] >= 4
