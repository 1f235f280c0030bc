"""Every hyper-parameter of the published searches, by name.

Sources: CONetV2 (Wang et al. 2021) and CONet (Hosseini et al. 2021), the papers' settings sections; where a paper is
silent, the authors' public settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from chanc.errors import RunError
from chanc.registry import Registry

Options: TypeAlias = Mapping[str, Any]
"""Fields of TrainOptions or of a search method, by name; the values are JSON."""


@dataclass(frozen=True)
class Preset:
    """A search method with its options, and the fields of TrainOptions for trials and for the final training.

    model: the network it was published for, a name of the zoo. transfer: how weights follow widths. note: what of the
    publication is not set here.
    """

    algo: str
    model: str
    options: Options
    train: Options
    final: Options
    final_epochs: int = 250
    transfer: str = "svd"
    note: str = ""


_ADAS = {"optimizer": "adas", "adas_beta": 0.8, "momentum": 0.9, "batch_size": 128}
# The published searches measured the layers at the minimum that Brent's search ends in.
_PUBLISHED = {**_ADAS, "evbmf": "brent"}
_IMAGES = {"crop_padding": 4, "flip": True}
_STEP = {
    "optimizer": "sgd", "momentum": 0.9, "batch_size": 128, "schedule": "step", "step_epochs": 25, "step_gamma": 0.5,
    **_IMAGES,
}  # fmt: skip
_GREEDY = {"gamma": 0.8, "trials": 35, "min_width": 16, "max_width": 256, "round_to": 2, "first_step": "+16",
           "best_by": "global", "best_from": 6, "remainder": "dropped"}  # fmt: skip
_CONET = {"trials": 25, "start_width": 32, "delta": 0.0075, "mu": 10.0, "phi": 0.2, "gamma": 0.01, "min_width": 16,
          "max_width": 256, "round_to": 2, "remainder": "dropped"}  # fmt: skip

PRESETS: Registry[Preset] = Registry("preset", "chanc.presets", error=RunError)

PRESETS.add("conetv2-resnet34", Preset(
    "greedy", "resnet34", {**_GREEDY, "start_width": 16},
    {**_PUBLISHED, **_IMAGES, "epochs": 2, "lr": 0.03, "weight_decay": 5e-4},
    {**_STEP, "lr": 0.1, "weight_decay": 5e-4},
), help="ResNet-34 of CONetV2.")  # fmt: skip

PRESETS.add("conetv2-darts7", Preset(
    "greedy", "darts7", {**_GREEDY, "start_width": 32},
    {**_PUBLISHED, **_IMAGES, "epochs": 2, "lr": 0.175, "weight_decay": 3e-4},
    {**_STEP, "lr": 0.175, "weight_decay": 3e-4},
), help="DARTS with 7 cells of CONetV2.")  # fmt: skip

PRESETS.add("conet-darts7", Preset(
    "conet", "darts7", _CONET,
    {**_PUBLISHED, **_IMAGES, "epochs": 20, "lr": 0.1, "weight_decay": 5e-4},
    {**_STEP, "lr": 0.1, "weight_decay": 3e-4, "clip_norm": 5.0, "cutout": 16, "drop_path": 0.2},
    note="the auxiliary head (0.4) of the final training is that of a model exported with --aux",
), help="DARTS with 7 cells of CONet.")  # fmt: skip

PRESETS.add("conet-resnet34", Preset(
    "conet", "resnet34", _CONET,
    {**_PUBLISHED, **_IMAGES, "epochs": 20, "lr": 0.03, "weight_decay": 5e-4},
    {**_STEP, "lr": 0.1, "weight_decay": 3e-4},
), help="ResNet-34 of CONet.")  # fmt: skip

_MASKED = {
    "optimizer": "sgd", "momentum": 0.9, "batch_size": 96, "schedule": "cosine", "lr": 0.025, "weight_decay": 3e-4,
    "clip_norm": 5.0,
}  # fmt: skip
_CELLS = {**_MASKED, **_IMAGES, "cutout": 16, "drop_path": 0.2}
_DARTS = {**_CELLS, "epochs": 50}
_SHARED = {"step": 8, "min_width": 8, "max_width": 1024, "round_to": 8, "mask_lr": 0.1, "mask_mode": "soft",
           "cost": "macs"}  # fmt: skip
_DMASK = {**_SHARED, "split": 0.8, "turns": "epochs", "tau": 5.0, "decay": 0.956}
_OURS = "the range is chanc's: the table of the paper's appendix is lost"

PRESETS.add("flexcharts", Preset(
    "flexcharts", "flexcharts20", {**_SHARED, "split": 0.5, "turns": "steps", "sigma": 2.0, "last_sigma": 2.0,
                                  "candidates": 13, "pace": "channels"},
    _DARTS, _CELLS, final_epochs=100, transfer="grow",
    note="lambda 0.01 is of the paper's range, 0.001 to 0.1; --target-macs holds a target instead",
), help="FlexCHarts: 20 cells of DARTS, a mean width each.")  # fmt: skip

PRESETS.add("dmask-small", Preset(
    "dmask", "flexcharts20", {**_DMASK, "low": 0.65, "high": 0.95, "step": 4, "round_to": 4},
    _DARTS, _CELLS, final_epochs=100, transfer="grow", note=_OURS,
), help="DMaskingNAS on FlexCHarts' network, a small range.")  # fmt: skip

PRESETS.add("dmask-large", Preset(
    "dmask", "flexcharts20", {**_DMASK, "low": 0.0, "high": 2.0},
    _DARTS, _CELLS, final_epochs=100, transfer="grow", note=_OURS,
), help="DMaskingNAS on FlexCHarts' network, a range as large as all that FlexCHarts finds.")  # fmt: skip

_EDGES = {
    "optimizer": "sgd", "momentum": 0.9, "nesterov": True, "batch_size": 64, "lr": 0.05, "final_lr": 1e-4,
    "weight_decay": 2e-4,
}  # fmt: skip
_SGDR = {**_EDGES, "schedule": "sgdr", "restart_epochs": 10, "restart_factor": 2, "spatial_dropout": 0.1, **_IMAGES}
_PRUNED = {"gamma": 0.1, "saliency": "taylor", "batches": 50, "tune_lr": 1e-4}
_SILENT = "the paper doesn't tell the rate of spatial dropout, the number of batches and the rate between steps"

PRESETS.add("cnas", Preset(
    "cnas", "cnas", {**_PRUNED, "sparsity": 0.54, "consumers": "*.pointwise.*"},
    {**_SGDR, "epochs": 150}, _SGDR, final_epochs=630, transfer="grow", note=_SILENT,
), help="CNAS: the inputs of all operations of 20 cells, 46 % of the params left.")  # fmt: skip

PRESETS.add("cnas-densenet", Preset(
    "cnas", "cnas-densenet", {**_PRUNED, "consumers": "*.conv1.*"},
    {**_SGDR, "epochs": 150}, _SGDR, final_epochs=630, transfer="grow", note=_SILENT,
), help="CNAS on DenseNet-BC: the inputs of all bottlenecks.")  # fmt: skip

DEFAULT_TRAIN: Options = {**_ADAS, "evbmf": "global", "epochs": 2, "lr": 0.03, "weight_decay": 5e-4}
"""How trials are trained where no preset is named; crop and flip are those that suit the data."""

DEFAULT_TRANSFER = "grow"
"""How weights follow widths where no preset is named: the papers' way makes twins that never part."""

DEFAULT_FINAL: Options = {
    "optimizer": "sgd", "momentum": 0.9, "batch_size": 128, "schedule": "cosine", "lr": 0.1, "weight_decay": 5e-4,
}  # fmt: skip
"""How the widths that were found are trained where no preset is named: a cosine fits any number of epochs."""

DEFAULT_JUDGED: Options = {**DEFAULT_FINAL, "evbmf": "global", "epochs": 2}
"""How trials are trained whose held-out loss decides: like the final training, down to a learning rate of nothing."""

DEFAULT_MASKED: Options = {**_MASKED, "evbmf": "global", "epochs": 50}
"""How a masked supernet is trained: as FlexCHarts' is; what suits the data is cropped and flipped."""


DEFAULT_EDGES: Options = {**_EDGES, "schedule": "cosine", "evbmf": "global", "epochs": 20}
"""How a network is trained before it loses edges: as CNAS's is, but for a schedule that fits any number of epochs."""


def preset(name: str) -> Preset:
    """The preset of that name; raises RunError with the names there are."""
    return PRESETS[name]
