"""How the real engine measures: one factorisation of every weight an epoch."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from chanc.analysis import analyze
from chanc.errors import RunError
from chanc.metrics import quality
from chanc.metrics.evbmf import Minimum
from chanc.metrics.quality import layers_quality
from chanc.metrics.registry import METRICS, measure
from chanc.report import write_report
from chanc.runs import read_run
from chanc.study.engine import MetricOf
from chanc.study.parts import load_data, make_engine
from chanc.study.settings import resolve
from chanc.study.study import search
from chanc.study.torch_engine import _weights, task_of
from chanc.tasks import TASKS, Classification
from chanc.training.adas import AdaS

TRAIN = {"batch_size": 32, "lr": 0.1, "crop_padding": 1, "flip": False, "device": "cpu"}
STEM, INNER_AND_OUTER, POINTWISE = [(1, (1, 72)), (1, (8, 9))], (4, (8, 72)), (1, (8, 8))

FIGURES = {f"{mode}_{what}" for mode in ("in", "out") for what in ("rank", "kappa", "qc")}


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[int, ...], Minimum]]:
    """Count, shape and minimum of the matrices that are factorised from here on, those of one shape together."""
    seen: list[tuple[int, tuple[int, ...], Minimum]] = []
    factorise = quality.evbmf_batch

    def watched(matrices: Sequence[Any], minimum: Minimum = "global") -> Any:
        shapes = Counter(tuple(sorted(matrix.shape)) for matrix in matrices)
        seen.extend((count, shape, minimum) for shape, count in shapes.items())
        return factorise(matrices, minimum)

    monkeypatch.setattr(quality, "evbmf_batch", watched)
    return seen


class Silent:
    """Listens, and says nothing."""

    def step(self, epoch: int, share: float) -> None: ...

    def epoch(self, epoch: int, loss: float, top1: float) -> None: ...


def run(
    model: Path, out: Path, images: int = 100, metrics: Sequence[str] = (), of: MetricOf = "weights", **train: Any
) -> Any:
    return search(model, data="digits", trials=1, epochs=2, limit_train=images, out=out, train={**TRAIN, **train},
                  options={"min_width": 4, "start_width": 8}, metrics=metrics, metric_of=of)  # fmt: skip


@pytest.mark.parametrize("optimizer", ["adas", "sgd"])
@pytest.mark.parametrize("minimum", ["global", pytest.param("brent", marks=pytest.mark.nightly)])
def test_every_weight_is_factorised_once_an_epoch(
    tmp_path: Path, digits_model: Path, batches: list[Any], optimizer: str, minimum: Minimum
) -> None:
    run(digits_model, tmp_path / "run", optimizer=optimizer, evbmf=minimum)
    epoch = [(*batch, minimum) for batch in (*STEM, INNER_AND_OUTER, POINTWISE)]
    assert sorted(batches) == sorted(epoch * 2)


@pytest.mark.parametrize(("optimizer", "times"), [("adas", 2), ("sgd", 1)])
def test_a_change_is_factorised_beside_the_weights_only_where_adas_needs_those(
    tmp_path: Path, digits_model: Path, batches: list[Any], optimizer: str, times: int
) -> None:
    run(digits_model, tmp_path / "run", of="change", optimizer=optimizer)
    epoch = [(*batch, "global") for batch in (*STEM, INNER_AND_OUTER, POINTWISE)]
    assert sorted(batches) == sorted(epoch * 2 * times)


def test_averaged_weights_are_measured_by_themselves(tmp_path: Path, digits_model: Path, batches: list[Any]) -> None:
    run(digits_model, tmp_path / "run", ema_decay=0.9)
    assert len(batches) == 2 * 2 * 4


@pytest.mark.parametrize("train", [{}, {"ema_decay": 0.9}])
def test_the_log_has_the_quality_of_the_weights_that_are_kept(
    tmp_path: Path, digits_model: Path, train: dict[str, float]
) -> None:
    found = run(digits_model, tmp_path / "run", images=400, lr=2.0, **train)
    best = {one.name: numpy_helper.to_array(one) for one in onnx.load(found.model).graph.initializer}
    logged = found.trials[0].epochs[-1].metrics
    assert any(values["out_rank"] > 0 for values in logged.values())
    for name, measured in layers_quality({name: best[name] for name in logged}).items():
        assert set(logged[name]) == FIGURES
        kept = {figure: measured.as_dict()[figure] for figure in FIGURES}
        assert logged[name] == pytest.approx(kept, rel=1e-9)


@pytest.mark.parametrize("train", [{"optimizer": "sgd"}, {"optimizer": "adas"}, {"ema_decay": 0.9}])
def test_the_change_that_a_training_made_can_be_measured(
    tmp_path: Path, digits_model: Path, train: dict[str, Any]
) -> None:
    asked = {"algo": None, "preset_name": None, "options": {}, "final": {}, "limit_train": 400, "metric_of": "change"}
    settings = resolve(data="digits", train={**TRAIN, "epochs": 2, **train}, **asked)
    engine = make_engine(settings, load_data(analyze(digits_model), settings, None)[0])
    before, model = engine.load(digits_model), engine.load(digits_model)
    done = engine.train(model, fresh=False, seed=0, carry_from=None, carry_to=None, watch=Silent())
    logged = done.epochs[-1].metrics
    start, end = ({name: one.graph.initializers[name].const_value.numpy().astype(float) for name in logged}
                  for one in (before, done.model))  # fmt: skip
    changes = layers_quality({name: end[name] - start[name] for name in logged})
    for name, change in changes.items():
        kept = {figure: change.as_dict()[figure] for figure in FIGURES}
        assert logged[name] == pytest.approx(kept, rel=1e-4)
    plain = layers_quality(end)
    assert any(plain[name].out_qc != pytest.approx(changes[name].out_qc, rel=1e-2) for name in logged)


@pytest.mark.parametrize(("preset", "of"), [(None, "change"), ("conetv2-resnet34", "weights")])
def test_presets_measure_the_weights(preset: str | None, of: str) -> None:
    asked: dict[str, Any] = {"algo": None, "data": "digits", "options": {}, "train": {}, "final": {}}
    settings = resolve(preset_name=preset, **asked)
    assert (settings.metric_of, settings.decisive({})["metric_of"]) == (of, of)
    assert resolve(preset_name=preset, metric_of="change", **asked).metric_of == "change"


def test_a_trial_may_have_epochs_and_a_transfer_of_its_own(tmp_path: Path, digits_model: Path) -> None:
    asked = {"algo": None, "preset_name": None, "options": {}, "final": {}, "limit_train": 100}
    settings = resolve(data="digits", train={**TRAIN, "epochs": 3}, transfer="svd", **asked)
    engine = make_engine(settings, load_data(analyze(digits_model), settings, None)[0])
    model = engine.load(digits_model)
    one = engine.train(model, fresh=True, seed=0, carry_from=None, carry_to=None, watch=Silent(), epochs=1)
    assert len(one.epochs) == 1
    usual = engine.train(model, fresh=True, seed=0, carry_from=None, carry_to=None, watch=Silent())
    assert len(usual.epochs) == 3
    widths = {"stem.weight": 8}
    made = {name: engine.resize(model, widths, fresh=False, seed=0, transfer=name) for name in (None, "svd", "select")}
    stem = {name: one.graph.initializers["stem.weight"].const_value.numpy() for name, one in made.items()}
    assert np.array_equal(stem[None], stem["svd"])
    assert not np.array_equal(stem[None], stem["select"])


def test_adas_measures_a_transposed_convolution_with_its_axes_as_they_lie() -> None:
    module = nn.Sequential(nn.ConvTranspose2d(6, 4, 3))
    g = np.random.default_rng(0)
    values = g.standard_normal((6, 2)) @ g.standard_normal((2, 36)) + 0.1 * g.standard_normal((6, 36))
    module[0].weight.data = torch.tensor(values.reshape(6, 4, 3, 3))
    layers = {"up": ("0.weight", True)}
    swapped = layers_quality({"up": module[0].weight.swapaxes(0, 1)})["up"].as_dict()
    for known in ({}, AdaS(module).measure()):
        found = measure(("quality",), _weights(module, layers, {}, known, "global"))["up"]
        assert found == pytest.approx({name: swapped[name] for name in found}, rel=1e-9)
        assert found["in_rank"] == pytest.approx(2 / 6) != found["out_rank"]


def test_other_metrics_are_logged_beside_quality(tmp_path: Path, digits_model: Path, batches: list[Any]) -> None:
    """They get all weights at once, [O, I, k...], and what was factorised already."""

    def mine(weights: Any) -> Any:
        return {name: {"channels": weight.shape[0], "half_rank": weights.qualities[name].out_rank / 2}
                for name, weight in weights.items()}  # fmt: skip

    with METRICS.scratch():
        METRICS.register("mine")(mine)
        found = run(digits_model, tmp_path / "run", metrics=["mine", "mine", "quality"])
    layers = found.trials[0].epochs[-1].metrics
    assert len(batches) == 2 * 4
    assert {name: layer["channels"] for name, layer in layers.items()} == {
        "stem.weight": 8, "inner.weight": 8, "outer.weight": 8, "pointwise.weight": 8}  # fmt: skip
    assert all(layer["half_rank"] == layer["out_rank"] / 2 for layer in layers.values())
    assert all(set(layer) == FIGURES | {"channels", "half_rank"} for layer in layers.values())
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["metrics"] == ["mine"]
    assert '"figure-half_rank"' in write_report(tmp_path / "run").read_text()


def test_a_search_follows_a_score_that_rises() -> None:
    class Backwards(Classification):
        higher_is_better = False

    class Pupil(Classification):
        wants_teacher = True

    assert task_of("classification", {"label_smoothing": 0.1, "lr": 0.1}) == Classification(0.1)
    with TASKS.scratch():
        for name, task, why in (
            ("backwards", Backwards, "a lower score is the better one"),
            ("pupil", Pupil, "it wants a teacher"),
        ):
            TASKS.add(name, task)
            with pytest.raises(RunError, match=f"a search can't follow the task {name}: {why}"):
                task_of(name, {})


def test_a_final_training_is_judged_at_its_end_and_every_tenth_epoch(tmp_path: Path, digits_model: Path) -> None:
    done = search(digits_model, data="digits", trials=1, epochs=1, limit_train=64, limit_test=50, out=tmp_path / "run",
                  train=TRAIN, final_epochs=12, final=TRAIN, compare=("baseline",),
                  options={"min_width": 4, "start_width": 8})  # fmt: skip
    record = read_run(tmp_path / "run")
    for event in record.finals:
        judged = [epoch.epoch for epoch in event.epochs if not math.isnan(epoch.score)]
        assert (len(event.epochs), judged) == (12, [9, 11])
        assert event.score == event.epochs[-1].score
    assert all(row.top1 is not None and math.isfinite(row.top1) for row in done.rows)
    assert write_report(tmp_path / "run").stat().st_size > 10_000
    names = {line.id for line in record.timing}
    assert {"start", "0", "end", "final baseline-0", "final found-0"} <= names
    trial = next(line.seconds for line in record.timing if line.id == "0")
    assert {"rewrite", "codegen", "prepare", "train", "evaluate", "measure", "save"} <= set(trial)
    assert trial["train"] > 0
