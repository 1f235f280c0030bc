"""From what was asked to every setting of a run.

What comes later wins: defaults, a preset's values, augmentation that suits the data, the caller's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chanc import plugins
from chanc.data import DataSource
from chanc.errors import RunError
from chanc.files import Json
from chanc.metrics.registry import METRICS
from chanc.study.asked import word
from chanc.study.budgets import Budget, Target
from chanc.study.driver import SelectBy
from chanc.study.engine import MetricOf
from chanc.study.methods.edges import Cnas
from chanc.study.methods.halving import Halving
from chanc.study.methods.protocol import Method, TrialMethod, WholeMethod
from chanc.study.methods.registry import METHODS, fields_of, make, options_of
from chanc.study.methods.supernet import Masking
from chanc.study.presets import (
    DEFAULT_EDGES,
    DEFAULT_FINAL,
    DEFAULT_JUDGED,
    DEFAULT_MASKED,
    DEFAULT_TRAIN,
    DEFAULT_TRANSFER,
    Options,
    preset,
)
from chanc.study.space import WIDEST, Limits
from chanc.training.options import InputOptions
from chanc.training.task import Task

GPU_GRAIN = 8
"""Widths on a GPU are multiples of this."""


@dataclass(frozen=True)
class Settings:
    """All that decides what a search does.

    train, final: fields of TrainOptions and of the task, for the trials and for the final trainings; asked_train,
    asked_final: which of them the caller named. keep, ties: patterns of groups that stay, and of such that change
    together (`chanc.study.parts.space_of`). at_once: trials that a method is asked for at a time. holdout: the share of
    the training images that trials are judged on. transfer: how weights follow widths. reset: draw norms and linear
    layers anew after each change of widths. carry_optimizer: learning rates go on from trial to trial. from_weights:
    start from the weights of the given model instead of fresh ones. metrics: what is measured of the layers besides
    `quality`. metric_of: see `chanc.study.engine.MetricOf`. select_by: which trial is the best
    (`chanc.study.driver.Task`). sizes: of open axes, at which the model is analysed and counted. input: how the model
    takes its pixels.
    """

    method: TrialMethod | WholeMethod
    data: DataSource
    train: Options
    final: Options
    task: str | Task = "classification"
    seed: int = 0
    preset: str | None = None
    budget: Budget = field(default_factory=Budget)
    keep: tuple[str, ...] = ()
    ties: Mapping[str, str] = field(default_factory=dict)
    at_once: int = 1
    limit_train: int | None = None
    limit_test: int | None = None
    holdout: float = 0.1
    transfer: str = DEFAULT_TRANSFER
    reset: bool = False
    carry_optimizer: bool = False
    from_weights: bool = False
    metrics: tuple[str, ...] = ()
    metric_of: MetricOf = "weights"
    select_by: SelectBy = "metric"
    sizes: Mapping[str, int] = field(default_factory=dict)
    input: InputOptions = field(default_factory=InputOptions)
    note: str = ""
    asked_train: frozenset[str] = frozenset()
    asked_final: frozenset[str] = frozenset()

    @property
    def limits(self) -> Limits:
        """The bounds of a legal width, for budgets and rivals; there are none where the method has none."""
        limits = getattr(self.method, "limits", None)
        return limits if isinstance(limits, Limits) else Limits(1, WIDEST, 1)

    @property
    def target(self) -> Target:
        """What all trials shall cost, where the method knows of targets."""
        target = getattr(self.method, "target", None)
        return target if isinstance(target, Target) else Target()

    @property
    def words(self) -> dict[str, str]:
        """What the record says of data and task: their names, and of objects what tells them apart."""
        return {"data": word(self.data), "task": word(self.task)}

    @property
    def length(self) -> tuple[int, int]:
        """Trials, and epochs of each; what a method that trains by itself does is one trial."""
        trials, epochs = (getattr(self.method, name, None) for name in ("trials", "epochs"))
        return trials or 1, epochs or self.train["epochs"]

    def suited(self, images: Mapping[str, object]) -> Settings:
        """With the augmentation that suits the images, where the caller asked for no other: it wins over a preset's."""
        train, final = (
            {**recipe, **{name: value for name, value in images.items() if name not in asked}}
            for recipe, asked in ((self.train, self.asked_train), (self.final, self.asked_final))
        )
        return dataclasses.replace(self, train=train, final=final)

    def decisive(self, model: Mapping[str, Json]) -> dict[str, Json]:
        """The JSON object that a resumed run must agree with; final trainings may differ, they start from scratch."""
        train = {name: value for name, value in self.train.items() if name != "device"}
        return {
            "algo": self.method.name,
            "seed": self.seed,
            "epochs": train["epochs"],
            **options_of(self.method),
            "preset": self.preset,
            "graph": dict(model),
            **self.words,
            "limit_train": self.limit_train,
            "holdout": self.holdout,
            "train": train,
            **dataclasses.asdict(self.budget),
            **({"keep": list(self.keep)} if self.keep else {}),
            **({"ties": dict(self.ties)} if self.ties else {}),
            **({"at_once": self.at_once} if self.at_once > 1 else {}),
            "transfer": self.transfer,
            "reset": self.reset,
            "carry_optimizer": self.carry_optimizer,
            "from_weights": self.from_weights,
            "metrics": list(self.metrics),
            "metric_of": self.metric_of,
            "select_by": self.select_by,
            **({"sizes": dict(self.sizes)} if self.sizes else {}),
        }

    def judged(self, model: Mapping[str, Json]) -> dict[str, Json]:
        """The JSON object that decides a final training, besides its widths, recipe and seed."""
        return {
            "graph": dict(model),
            **self.words,
            "seed": self.seed,  # of the images that limits leave
            "limit_train": self.limit_train,
            "limit_test": self.limit_test,
            "sizes": dict(self.sizes),
        }


def resolve(
    *,
    algo: str | None,
    data: DataSource,
    preset_name: str | None,
    options: Options,
    train: Options,
    final: Options,
    seed: int = 0,
    metrics: Sequence[str] = (),
    metric_of: MetricOf | None = None,
    budget: Budget | None = None,
    transfer: str | None = None,
    **rest: Any,
) -> Settings:
    """Make the settings. Entries of the mappings that are None count as not given.

    Raises RunError for an unknown method, preset, metric or option.
    """
    base_options: Options = {}
    base_train = _usual(METHODS[algo or "greedy"])
    base_final, base_transfer, note = DEFAULT_FINAL, DEFAULT_TRANSFER, ""
    if preset_name is not None:
        chosen = preset(preset_name)
        algo, base_transfer, note = algo or chosen.algo, chosen.transfer, chosen.note
        known = fields_of(algo)
        base_options = {name: value for name, value in chosen.options.items() if name in known}
        base_train, base_final = dict(chosen.train), dict(chosen.final)
    recipe = {**base_train, **given(train)}
    method = _method(algo or "greedy", {**base_options, **given(options)}, seed, train.get("epochs"))
    budget = budget or Budget()
    if isinstance(method, WholeMethod) and budget != Budget():
        raise RunError(f"the {method.name} search takes no budget: there are no trials whose widths one could bound")
    if rest.get("carry_optimizer") and recipe["optimizer"] != "adas":
        raise RunError(f"{recipe['optimizer']} has no learning rates to carry from trial to trial: only adas has")
    return Settings(
        method=method,
        seed=seed,
        budget=budget,
        data=data,
        train=recipe,
        final={**base_final, **given(final)},
        preset=preset_name,
        transfer=transfer or base_transfer,
        metrics=_besides_quality(metrics),
        metric_of=metric_of or ("weights" if preset_name else "change"),
        note=note,
        asked_train=frozenset(given(train)),
        asked_final=frozenset(given(final)),
        **rest,
    )


def _usual(method: type[Method]) -> Options:
    """How a method's networks are trained where no preset is named."""
    if issubclass(method, Masking):
        return DEFAULT_MASKED
    if issubclass(method, Cnas):
        return DEFAULT_EDGES
    return DEFAULT_JUDGED if issubclass(method, Halving) else DEFAULT_TRAIN


def width_grain(algo: str | None, preset_name: str | None, options: Options, device: object) -> Options:
    """What widths are multiples of where nobody said it and trials run on a GPU, whose matrix units take eights.

    device: as of TrainOptions, None for the default.
    """
    if preset_name is not None or options.get("round_to") is not None or "round_to" not in fields_of(algo or "greedy"):
        return {}
    plugins.require("torch", "a search", "torch")
    from chanc.training.devices import pick_device

    return {"round_to": GPU_GRAIN} if pick_device(str(device or "auto")).type == "cuda" else {}


def _method(algo: str, options: Options, seed: int, epochs: object) -> TrialMethod | WholeMethod:
    """The method, with the search's own seed and epochs where it has such options."""
    known, own = fields_of(algo), given({"seed": seed, "epochs": epochs})
    try:
        return make(algo, **{**options, **{name: value for name, value in own.items() if name in known}})
    except ValueError as error:
        raise RunError(str(error)) from None


def _besides_quality(metrics: Sequence[str]) -> tuple[str, ...]:
    for name in metrics:
        METRICS[name]  # one that isn't there is told before anything is read
    return tuple(dict.fromkeys(name for name in metrics if name != "quality"))


def given(values: Options) -> Options:
    """The entries that are not None."""
    return {name: value for name, value in values.items() if value is not None}
