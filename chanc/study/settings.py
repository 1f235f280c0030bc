"""From what was asked to every setting of a run.

What comes later wins: defaults, a preset's values, augmentation that suits the data, the caller's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chanc.errors import RunError
from chanc.files import Json
from chanc.study.budgets import Budget
from chanc.study.methods.sampler import SAMPLERS, Sampler, make
from chanc.study.presets import DEFAULT_FINAL, DEFAULT_TRAIN, Options, preset
from chanc.training.options import InputOptions


@dataclass(frozen=True)
class Settings:
    """All that decides what a search does.

    train, final: fields of TrainOptions for the trials and for the final trainings; asked_train, asked_final: which of
    them the caller named. holdout: the share of the training images that trials are judged on. transfer: how weights
    follow widths. reset: draw norms and linear layers anew after each change of widths. carry_optimizer: learning rates
    go on from trial to trial. from_weights: start from the weights of the given model instead of fresh ones. input: how
    the model takes its pixels.
    """

    sampler: Sampler
    data: str
    train: Options
    final: Options
    preset: str | None = None
    budget: Budget = field(default_factory=Budget)
    limit_train: int | None = None
    limit_test: int | None = None
    holdout: float = 0.1
    transfer: str = "svd"
    reset: bool = False
    carry_optimizer: bool = False
    from_weights: bool = False
    input: InputOptions = field(default_factory=InputOptions)
    note: str = ""
    asked_train: frozenset[str] = frozenset()
    asked_final: frozenset[str] = frozenset()

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
            "algo": self.sampler.name,
            **self.sampler.options(),
            "epochs": train["epochs"],
            "preset": self.preset,
            "graph": dict(model),
            "data": self.data,
            "limit_train": self.limit_train,
            "holdout": self.holdout,
            "train": train,
            **dataclasses.asdict(self.budget),
            "transfer": self.transfer,
            "reset": self.reset,
            "carry_optimizer": self.carry_optimizer,
            "from_weights": self.from_weights,
        }


def resolve(
    *,
    algo: str | None,
    data: str,
    preset_name: str | None,
    options: Options,
    train: Options,
    final: Options,
    **rest: Any,
) -> Settings:
    """Make the settings. Entries of the mappings that are None count as not given.

    Raises RunError for an unknown method, preset or option.
    """
    base_options: Options = {}
    base_train, base_final, note = DEFAULT_TRAIN, DEFAULT_FINAL, ""
    if preset_name is not None:
        chosen = preset(preset_name)
        algo, note = algo or chosen.algo, chosen.note
        known = fields_of(algo)
        base_options = {name: value for name, value in chosen.options.items() if name in known}
        base_train, base_final = dict(chosen.train), dict(chosen.final)
    try:
        sampler = make(algo or "greedy", **{**base_options, **given(options)})
    except ValueError as error:
        raise RunError(str(error)) from None
    recipe = {**base_train, **given(train)}
    if rest.get("carry_optimizer") and recipe["optimizer"] != "adas":
        raise RunError(f"{recipe['optimizer']} has no learning rates to carry from trial to trial: only adas has")
    return Settings(
        sampler=sampler,
        data=data,
        train=recipe,
        final={**base_final, **given(final)},
        preset=preset_name,
        note=note,
        asked_train=frozenset(given(train)),
        asked_final=frozenset(given(final)),
        **rest,
    )


def fields_of(algo: str) -> set[str]:
    """The options of a search method; raises RunError for an unknown one."""
    return {entry.name for entry in dataclasses.fields(SAMPLERS[algo])}


def given(values: Options) -> Options:
    """The entries that are not None."""
    return {name: value for name, value in values.items() if value is not None}
