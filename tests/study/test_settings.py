from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chanc.errors import RunError
from chanc.study.methods.registry import make, options_of
from chanc.study.methods.trial.conet import Conet
from chanc.study.presets import PRESETS
from chanc.study.settings import Settings, resolve, width_grain
from chanc.training.options import TrainOptions

CONETS = [name for name in PRESETS if name.startswith("conet")]


def settings(**asked: Any) -> Settings:
    base: dict[str, Any] = {"algo": None, "preset_name": None, "options": {}, "train": {}, "final": {}}
    return resolve(data="digits", **{**base, **asked})


@pytest.mark.parametrize("name", CONETS)
def test_presets_are_complete(name: str) -> None:
    preset = PRESETS[name]
    make(preset.algo, **preset.options)
    for recipe in (preset.train, preset.final):
        options = TrainOptions(**recipe)
        assert {"lr", "weight_decay", "optimizer", "batch_size"} <= set(recipe)
        assert options.batch_size == 128
    assert (preset.final["schedule"], preset.final["step_epochs"], preset.final["step_gamma"]) == ("step", 25, 0.5)
    assert preset.final_epochs == 250


@pytest.mark.parametrize(
    ("name", "trials", "epochs", "start", "lr", "decay", "final_lr", "final_decay"),
    [
        ("conetv2-resnet34", 35, 2, 16, 0.03, 5e-4, 0.1, 5e-4),
        ("conetv2-darts7", 35, 2, 32, 0.175, 3e-4, 0.175, 3e-4),
        ("conet-darts7", 25, 20, 32, 0.1, 5e-4, 0.1, 3e-4),
        ("conet-resnet34", 25, 20, 32, 0.03, 5e-4, 0.1, 3e-4),
    ],
)
def test_published_values(
    name: str, trials: int, epochs: int, start: int, lr: float, decay: float, final_lr: float, final_decay: float
) -> None:
    chosen = settings(preset_name=name)
    assert chosen.method.trials == trials
    assert options_of(chosen.method)["start_width"] == start
    assert (chosen.method.min_width, chosen.method.max_width) == (16, 256)
    assert (chosen.train["epochs"], chosen.train["lr"], chosen.train["weight_decay"]) == (epochs, lr, decay)
    assert (chosen.final["lr"], chosen.final["weight_decay"]) == (final_lr, final_decay)


@pytest.mark.parametrize("name", CONETS)
def test_only_the_published_presets_measure_by_brents_search(name: str) -> None:
    assert settings(preset_name=name).train["evbmf"] == "brent"
    assert settings(preset_name=name, train={"evbmf": "global"}).train["evbmf"] == "global"
    assert settings().decisive({})["train"]["evbmf"] == TrainOptions().evbmf == "global"


@pytest.mark.parametrize("algo", ["shape", "evolve", "optuna"])
def test_trials_that_are_judged_by_their_loss_are_annealed(algo: str) -> None:
    chosen = settings(algo=algo)
    assert (chosen.train["optimizer"], chosen.train["schedule"], chosen.train["lr"]) == ("sgd", "cosine", 0.1)
    assert settings(algo=algo, train={"optimizer": "adas"}).train["optimizer"] == "adas"
    assert settings(algo=algo, preset_name="conetv2-resnet34").train["optimizer"] == "adas"
    assert settings().train["optimizer"] == "adas"


@pytest.mark.parametrize("name", CONETS)
def test_only_the_published_presets_grow_twins(name: str) -> None:
    """Outside them new channels are drawn, unless another transfer is asked for."""
    assert settings(preset_name=name).transfer == "svd"
    assert settings(preset_name=name, transfer="widen").transfer == "widen"
    assert settings().transfer == settings(algo="sa").transfer == "grow"
    assert settings(transfer="reflect").transfer == "reflect"


def test_darts_extras() -> None:
    final = settings(preset_name="conet-darts7").final
    assert (final["clip_norm"], final["cutout"], final["drop_path"]) == (5.0, 16, 0.2)


def test_the_callers_values_win_over_the_preset() -> None:
    asked = {"options": {"delta": 0.02, "mu": None}, "train": {"lr": 0.2, "epochs": None}}
    chosen = settings(preset_name="conet-darts7", **asked)
    assert isinstance(chosen.method, Conet)
    assert (chosen.method.delta, chosen.method.mu) == (0.02, 10.0)
    assert (chosen.train["lr"], chosen.train["epochs"]) == (0.2, 20)


@pytest.mark.parametrize("name", [None, *PRESETS])
def test_augmentation_that_suits_the_data_wins_over_the_preset_and_loses_to_the_caller(name: str | None) -> None:
    digits = {"crop_padding": 1, "flip": False}
    chosen = settings(preset_name=name).suited(digits)
    assert [(recipe["flip"], recipe["crop_padding"]) for recipe in (chosen.train, chosen.final)] == [(False, 1)] * 2
    asked = settings(preset_name=name, train={"flip": True, "crop_padding": None}, final={"crop_padding": 3})
    chosen = asked.suited(digits)
    assert (chosen.train["flip"], chosen.train["crop_padding"]) == (True, 1)
    assert (chosen.final["flip"], chosen.final["crop_padding"]) == (False, 3)


def test_preset_with_another_method_keeps_what_fits() -> None:
    chosen = settings(preset_name="conetv2-resnet34", algo="sa")
    assert chosen.method.name == "sa"
    assert chosen.method.trials == 35
    assert settings(preset_name="conetv2-resnet34", algo="random").method.name == "random"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"algo": "gredy"}, "no search method 'gredy'"),
        ({"preset_name": "conet"}, "no preset 'conet'"),
        ({"algo": "greedy", "options": {"delta": 0.1}}, "the greedy search has no option 'delta'"),
        ({"algo": "greedy", "options": {"gamma": 1.5}}, "gamma 1.5 lies outside 0..1"),
        ({"metrics": ["qualty"]}, r"no metric 'qualty' \(did you mean 'quality'\?\)"),
        ({"train": {"optimizer": "sgd"}, "carry_optimizer": True}, "sgd has no learning rates to carry"),
        ({"algo": "greedy", "options": {"min_width": 512}}, "min_width 512 lies above max_width 256"),
    ],
)
def test_bad_settings_are_one_clear_line(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        settings(**asked)


def test_device_and_final_training_do_not_decide_a_search() -> None:
    one = settings(train={"device": "cpu"}, final={"lr": 0.5})
    other = settings(train={"device": "cuda"})
    assert one.decisive({}) == other.decisive({})
    assert one.decisive({}) != settings(train={"lr": 0.5}).decisive({})
    assert one.decisive({}) != settings(train={"evbmf": "brent"}).decisive({})
    assert one.decisive({}) == settings(metrics=["quality"]).decisive({})
    assert one.decisive({}) != dataclasses.replace(one, metrics=("mine",)).decisive({})
    assert one.decisive({}) != dataclasses.replace(one, holdout=0.2).decisive({})


@pytest.mark.parametrize(("algo", "preset", "told", "device", "expected"), [
    ("greedy", None, None, "cuda", {"round_to": 8}),
    (None, None, None, "cuda", {"round_to": 8}),
    ("greedy", None, None, "cpu", {}),
    ("greedy", None, 2, "cuda", {}),
    (None, "conetv2-resnet34", None, "cuda", {}),
])  # fmt: skip
def test_widths_on_a_gpu_are_multiples_of_eight_where_nobody_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, algo: str, preset: str, told: int | None, device: str, expected: Any
) -> None:
    torch = pytest.importorskip("torch")
    names = {"auto": device, "cpu": "cpu"}
    monkeypatch.setattr("chanc.training.devices.pick_device", lambda name: torch.device(names[name]))
    assert width_grain(algo, preset, {"round_to": told}, None) == expected
    assert width_grain(algo, preset, {"round_to": told}, "cpu") == {}
