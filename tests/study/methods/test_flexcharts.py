"""FlexCHarts in a run: one event an epoch, the same after a kill, widths at the target, and what is told of it."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

torch = pytest.importorskip("torch")

from chanc.analysis import analyze  # noqa: E402
from chanc.errors import RunError  # noqa: E402
from chanc.runs import EpochEvent, StateEvent, best, read_json, read_run  # noqa: E402
from chanc.study.methods.registry import fields_of, make, trains_itself  # noqa: E402
from chanc.study.methods.supernet._common import missed  # noqa: E402
from chanc.study.presets import PRESETS  # noqa: E402
from chanc.study.space import SearchGroup, Space  # noqa: E402
from chanc.study.study import search  # noqa: E402
from chanc.study.torch_engine import TorchEngine  # noqa: E402
from chanc.training.masking import Unit  # noqa: E402
from chanc.training.supernet import Supernet  # noqa: E402

TRAIN = {"batch_size": 32, "lr": 0.1, "crop_padding": 1, "flip": False, "device": "cpu"}
OPTIONS = {"step": 2, "min_width": 4, "max_width": 64, "candidates": 5}


def run(model: Path, out: Path, **asked: Any) -> Any:
    options = {**OPTIONS, **asked.pop("options", {})}
    asked = {"data": "digits", "epochs": 2, "limit_train": 120, "holdout": 0.2, "train": TRAIN, **asked}
    return search(model, algo="flexcharts", out=out, options=options, **asked)


def log(path: Path) -> bytes:
    return (path / "events.jsonl").read_bytes()


def test_its_options() -> None:
    method = make("flexcharts")
    assert trains_itself("flexcharts")
    assert (method.step, method.candidates, method.split, method.turns) == (8, 13, 0.5, "steps")
    for wrong, told in (({"candidates": 4}, "odd"), ({"min_width": 9, "max_width": 8}, "above max_width"),
                        ({"target_macs": "-3"}, "neither a number above 0")):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            make("flexcharts", **wrong)


def test_its_bells_narrow_from_the_first_epoch_to_the_last() -> None:
    """In steps of each group; the paper's stay as they are."""
    units = [Unit(name, {name: 1.0}, 64, step, 8, 1024) for name, step in (("a", 8), ("b", 16))]
    papers = {"sigma": 2.0, "last_sigma": 2.0}
    for options, expected in (({}, [[32, 64], [20, 40], [8, 16]]), (papers, [[16, 32]] * 3)):
        method = make("flexcharts", **options)
        choices, seen = method.begin(units, "cpu", 1.0), []
        for epoch in range(3):
            method.advance(choices, units, epoch, 3)
            seen.append(choices.sigma.tolist())
        assert seen == expected


def test_its_bells_are_no_wider_than_a_typical_group() -> None:
    """Of 8, 24 and 64 channels that is 24, three steps; the paper's stay as they are."""
    units = [Unit(name, {name: 1.0}, start, 8, 8, 128) for name, start in (("a", 8), ("b", 24), ("c", 64))]
    for options, expected in (({}, 24), ({"sigma": 2.0, "last_sigma": 2.0}, 16), ({"last_sigma": 4.0}, 32)):
        method = make("flexcharts", **options)
        choices = method.begin(units, "cpu", 1.0)
        method.advance(choices, units, 0, 3)
        assert choices.sigma.tolist() == [expected] * 3


def test_its_means_start_in_the_models_proportions_within_the_bounds() -> None:
    units = [Unit(name, {name: 1.0}, start, 8, 8, 128) for name, start in (("a", 8), ("b", 32), ("c", 64))]
    for level, means in ((1.0, [8, 32, 64]), (0.5, [8, 16, 32]), (3.0, [24, 96, 128])):
        assert make("flexcharts").begin(units, "cpu", level).centres() == pytest.approx(means)


def test_a_target_that_masks_did_not_reach_is_named() -> None:
    cost = {"macs": 141.0, "params": 104.0, "latency_ms": 0.8}
    told = list(missed({"cost": cost, "target": {"macs": 100.0, "params": 100.0, "latency_ms": 1.0}}))
    assert [line.partition(" of ")[2].partition(",")[0] for line in told] == ["macs", "latency_ms"]
    assert "1.41 times" in told[0]
    assert "smaller --step" in told[0]
    assert "larger --max-width" in told[1]
    assert not list(missed({"cost": cost}))


def test_ties_are_one_unit_and_kept_groups_none() -> None:
    space = Space((SearchGroup("a", 16), SearchGroup("b", 32, 3), SearchGroup("c", 8, resizable=False),
                   SearchGroup("d", 24)), ties={"a": "both", "d": "both"})  # fmt: skip
    both, b = make("flexcharts", max_width=100).units(space)
    assert (both.name, dict(both.shares), both.start, both.step, both.low, both.high) == (
        "both", {"a": 1.0, "d": 1.5}, 16, 8, 8, 96)  # fmt: skip
    assert (b.name, dict(b.shares), b.step, b.low, b.high) == ("b", {"b": 1.0}, 24, 24, 96)


def test_a_run_killed_before_its_end_is_one_that_was_not(tmp_path: Path, digits_model: Path) -> None:
    """The end alone is done again; what is done already is not."""
    calm = run(digits_model, tmp_path / "calm", options={"target_macs": "60%"})
    assert [event.kind for event in read_run(tmp_path / "calm").events] == ["start", "epoch", "epoch", "state"]
    check(calm, tmp_path / "calm", digits_model)
    shutil.copytree(tmp_path / "calm", tmp_path / "cut")
    (tmp_path / "cut" / "events.jsonl").write_bytes(b"".join(log(tmp_path / "cut").splitlines(keepends=True)[:3]))
    for folder in ("cut", "calm"):
        search(out=tmp_path / folder, resume=True)
    assert log(tmp_path / "cut") == log(tmp_path / "calm")
    assert log(tmp_path / "calm").count(b"\n") == 4


@pytest.mark.nightly
@pytest.mark.parametrize("at", [0, 1])
def test_a_run_killed_at_an_epochs_end_goes_on(tmp_path: Path, digits_model: Path, at: int,
                                              monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """While that epoch's state is written."""
    save = Supernet.save

    def die(net: Supernet, path: Path) -> None:
        if path.name == f"00{at}.safetensors":
            raise KeyboardInterrupt
        save(net, path)

    run(digits_model, tmp_path / "calm")
    with monkeypatch.context() as patch:
        patch.setattr(Supernet, "save", die)
        with pytest.raises(KeyboardInterrupt):
            run(digits_model, tmp_path / "cut")
    assert log(tmp_path / "cut").count(b"\n") == 1 + at
    search(out=tmp_path / "cut", resume=True)
    assert log(tmp_path / "cut") == log(tmp_path / "calm")


def check(result: Any, path: Path, model: Path) -> None:
    """What the events tell, and what came of it."""
    record, analysis = read_run(path), analyze(model)
    found = best(record)
    assert found is not None
    assert found.trial is None
    assert dict(found.decision.widths) == result.widths
    assert analysis.cost_at(result.widths).macs == pytest.approx(0.6 * analysis.macs, rel=0.1)
    assert all(width % 2 == 0 for width in result.widths.values())
    own = analyze(path / record.of(StateEvent)[-1].file)
    assert {group.id: group.size for group in own.groups if group.resizable} == result.widths
    assert onnx.load(result.model).graph.node
    first, last = record.of(EpochEvent)
    units = set(result.widths)
    for name in ("mu", "width", "low", "high"):
        assert set(first.metrics[name]) == units
    assert set(first.metrics["losses"]) == {"weights", "masks", "held_out"}
    assert first.metrics["losses"]["weights"] == first.loss
    assert first.metrics["target"]["macs"] == pytest.approx(0.6 * analysis.macs)
    assert math.isfinite(first.metrics["lambda"]["macs"])
    for epoch in (first, last):
        assert epoch.metrics["cost"]["macs"] == pytest.approx(0.6 * analysis.macs, rel=0.05)
    assert set(last.state["alpha"]) == units
    assert [line.id for line in record.timing if line.id.startswith("epoch")][:2] == ["epoch 0", "epoch 1"]
    assert all(line.peak_bytes is not None for line in record.timing if line.id.startswith("epoch"))
    assert (path / "model.py").exists()


@pytest.mark.nightly
@pytest.mark.parametrize("algo", ["flexcharts", "dmask"])
def test_a_latency_is_measured_once_and_followed(tmp_path: Path, digits_model: Path, algo: str,
                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Layer by layer; the table stands in the run, so that it goes on with the same one."""
    pytest.importorskip("onnxruntime")
    options = {name: value for name, value in OPTIONS.items() if name in fields_of(algo)}
    result = search(digits_model, algo=algo, out=tmp_path / "run", data="digits", epochs=2, limit_train=120,
                    holdout=0.2, train=TRAIN, options={**options, "target_latency": "70%"})  # fmt: skip
    events = read_run(tmp_path / "run").of(EpochEvent)
    whole = read_json(tmp_path / "run" / "supernet" / "latency.json")["whole"]
    assert events[0].metrics["target"]["latency_ms"] == pytest.approx(0.7 * whole)
    assert events[-1].metrics["cost"]["latency_ms"] > 0
    assert set(events[-1].metrics["lambda"]) == {"latency_ms"}
    monkeypatch.setattr(TorchEngine, "latencies", None)
    (tmp_path / "run" / "events.jsonl").write_bytes(b"".join(log(tmp_path / "run").splitlines(keepends=True)[:3]))
    again = search(out=tmp_path / "run", resume=True)
    assert again.widths.keys() == result.widths.keys()


def test_without_a_target_widths_are_next_to_their_means(tmp_path: Path, digits_model: Path) -> None:
    """On the steps; kept groups have their own, in the finals too; the weights are the model's where that is asked."""
    options = {"round_to": 8, "weights": "paper", "mask_mode": "sampled"}
    result = run(digits_model, tmp_path / "run", epochs=1, keep=["pointwise*"], from_weights=True, final_epochs=1,
                 compare=["uniform-params"], options=options)  # fmt: skip
    means = read_run(tmp_path / "run").of(EpochEvent)[0].metrics["mu"]
    assert result.widths["stem.weight"] == 2 * round(means["stem.weight"] / 2)
    assert "pointwise.weight" not in means
    assert {row.name for row in result.rows} == {"found", "uniform-params"}


def test_budgets_and_engines_that_it_has_no_use_for(tmp_path: Path, digits_model: Path) -> None:
    with pytest.raises(RunError, match="takes no budget"):
        run(digits_model, tmp_path / "run", max_macs=1000)


@pytest.mark.parametrize("name", ["flexcharts", "dmask-small", "dmask-large"])
def test_presets_are_what_the_paper_says(name: str) -> None:
    """Section 5.1; the ranges are ours."""
    preset = PRESETS[name]
    assert preset.train == {
        "optimizer": "sgd", "lr": 0.025, "schedule": "cosine", "momentum": 0.9, "weight_decay": 3e-4, "clip_norm": 5.0,
        "batch_size": 96, "cutout": 16, "crop_padding": 4, "flip": True, "epochs": 50,
        "drop_path": 0.2,
    }  # fmt: skip
    assert (preset.final_epochs, preset.algo) == (100, name.partition("-")[0])
    method = make(preset.algo, **preset.options)
    assert (method.mask_lr, method.min_width, method.target) == (0.1, 8, make("flexcharts").target)
