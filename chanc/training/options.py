"""The settings of one training run, and of what a model's input is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from chanc import fields
from chanc.data.contract import InputContract, Order, numbers, paired
from chanc.data.dataset import Dataset
from chanc.errors import RunError
from chanc.metrics.evbmf import Minimum

OPTIMIZERS = ("sgd", "adamw", "adas")
SCHEDULES = ("constant", "step", "cosine", "onecycle", "sgdr")
DEVICES = ("auto", "cpu", "cuda")
LRS = "sgd 0.1, adamw 0.001, adas 0.03"
INF = math.inf
BLUE_FIRST = "bgr:"


@dataclass(frozen=True)
class TrainOptions:
    """How to train: lengths in epochs, distances in pixels, 0 or None switches a part off.

    schedule: constant; step (times `step_gamma` every `step_epochs`); cosine (down to `final_lr`); onecycle (up to `lr`
    over the part `warmup` of all steps, then down); sgdr (cosine with warm restarts, the first after `restart_epochs`,
    each cycle `restart_factor` times as long). All but step change the rate at every optimiser step.
    amp: bfloat16 autocast, on CUDA only. deterministic: only algorithms that repeat bit by bit, also on CUDA.
    adas_beta: AdaS's gain factor, which plays the part of a schedule. evbmf: the minimum (`chanc.metrics.evbmf`) by
    which AdaS, and a search, measure the layers.

    Raises: RunError for an unknown name or a number out of range.
    """

    epochs: int = field(default=1, metadata={"help": "Epochs in all.", "range": (1, INF)})
    batch_size: int = field(default=128, metadata={"help": "Images a step.", "range": (2, INF)})
    optimizer: str = field(default="sgd", metadata={"help": "The optimizer.", "choices": OPTIMIZERS})
    lr: float = field(default=0.1, metadata={
        "help": "Learning rate; of AdaS the initial one.", "range": (0, INF), "default": LRS})  # fmt: skip
    momentum: float = field(default=0.9, metadata={"help": "Of sgd and adas.", "range": (0, 1)})
    nesterov: bool = field(default=False, metadata={"help": "Nesterov's momentum, of sgd."})
    weight_decay: float = field(default=5e-4, metadata={
        "help": "L2 of the weights.", "range": (0, INF), "default": "5e-4; adamw 0.01"})  # fmt: skip
    adas_beta: float = field(default=0.8, metadata={"help": "AdaS's gain factor.", "range": (0, 1)})
    evbmf: Minimum = field(default="global", metadata={"help": "Minimum at which AdaS measures the rank of a layer."})
    schedule: str = field(default="constant", metadata={
        "help": "Learning-rate schedule.", "choices": SCHEDULES, "default": "cosine; adas sets its own"})  # fmt: skip
    step_epochs: int = field(default=25, metadata={"help": "step: epochs between two cuts.", "range": (1, INF)})
    step_gamma: float = field(default=0.5, metadata={"help": "step: factor of a cut.", "range": (0, 1)})
    final_lr: float = field(default=0.0, metadata={
        "help": "cosine, sgdr: learning rate at the end.", "range": (0, INF)})  # fmt: skip
    warmup: float = field(default=0.3, metadata={
        "help": "onecycle: share of the steps on the way up.", "range": (0, 1)})  # fmt: skip
    restart_epochs: int = field(default=10, metadata={"help": "sgdr: length of the first cycle.", "range": (1, INF)})
    restart_factor: int = field(default=2, metadata={
        "help": "sgdr: each cycle is so many times as long.", "range": (1, INF)})  # fmt: skip
    cutout: int = field(default=0, metadata={"help": "Side of a blanked square, in pixels.", "range": (0, INF)})
    crop_padding: int = field(default=4, metadata={
        "help": "Random shift, in pixels.", "range": (0, INF), "default": "an eighth of the height"})  # fmt: skip
    flip: bool = field(default=True, metadata={"help": "Mirror images at random.", "default": "on; off for digits"})
    drop_path: float = field(default=0.0, metadata={
        "help": "Leave out branches of sums, a sample at a time: the rate that it rises to, from 0.",
        "range": (0, 1)})  # fmt: skip
    spatial_dropout: float = field(default=0.0, metadata={
        "help": "Leave out channels of branches, a sample at a time, at this rate.", "range": (0, 1)})  # fmt: skip
    clip_norm: float | None = field(default=None, metadata={
        "help": "Largest norm of a step's gradient.", "range": (0, INF)})  # fmt: skip
    ema_decay: float | None = field(default=None, metadata={
        "help": "Keep averaged weights: 0.999 is usual.", "range": (0, 1)})  # fmt: skip
    amp: bool = field(default=True, metadata={"help": "bfloat16 autocast on a GPU.", "flag": "bf16"})
    compile: bool = field(default=False, metadata={
        "help": "Use torch.compile, with CUDA graphs on a GPU: worth it in long trainings."})  # fmt: skip
    seed: int = field(default=0, metadata={"help": "Seed of everything random.", "range": (0, INF)})
    device: str = field(default="auto", metadata={"help": "Where to train.", "choices": DEVICES})
    deterministic: bool = field(default=False, metadata={
        "help": "Repeat bit by bit on a GPU too (slower): the same machine, versions and threads."})  # fmt: skip

    def __post_init__(self) -> None:
        if wrong := fields.fault(self):
            raise RunError(wrong)
        if self.lr <= 0:
            raise RunError(f"lr {self.lr} must be above 0")
        if max(self.drop_path, self.spatial_dropout) >= 1:
            raise RunError("drop_path and spatial_dropout must be below 1: something has to be left")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise RunError("nesterov is a kind of sgd's momentum: there is none")
        if self.optimizer == "adas" and self.schedule != "constant":
            raise RunError(f"optimizer adas sets its own learning rates: schedule {self.schedule} has no meaning")


@dataclass(frozen=True)
class InputOptions:
    """What was asked for of a model's input. Raises: RunError for what can't be read."""

    normalise: str | None = field(default=None, metadata={
        "help": "How it takes its pixels: dataset (standardised), none, or MEAN/STD (0.5/0.25, commas by channel); "
                "bgr:HOW where blue comes first.",
        "default": "what it was made for; dataset for fresh weights"})  # fmt: skip
    scale_pixels: str | None = field(default=None, metadata={
        "help": "What pixels of 0..255 are multiplied by before.", "default": "1/255"})  # fmt: skip
    bake: bool = field(default=False, metadata={
        "help": "Put the normalisation into the graph: it then takes pixels of 0..255."})  # fmt: skip

    def __post_init__(self) -> None:
        _scale(self.scale_pixels)
        if self._how not in (None, "dataset", "none"):
            _mean_std(self._how or "")

    def contract(self, data: Dataset) -> InputContract | None:
        """What was asked for, in the layout of the data's; None where nothing was.

        Numbers by channel are in the order of the model's input.
        """
        if self.normalise is None and self.scale_pixels is None:
            return None
        scale, layout, how = _scale(self.scale_pixels), data.input.layout, self._how
        order: Order = "BGR" if how != self.normalise else data.input.order
        if how == "dataset":
            mean, std = (tuple(255 * scale * value for value in values) for values in (data.mean, data.std))
            found = InputContract(scale, mean, std, layout)
            return found.blue_first() if order == "BGR" else found
        if how in (None, "none"):
            return InputContract(scale, layout=layout, order=order)
        return InputContract(scale, *_mean_std(how), layout, order)

    @property
    def _how(self) -> str | None:
        """Without the order of the colours."""
        return self.normalise.removeprefix(BLUE_FIRST) if self.normalise is not None else None


def _scale(text: str | None) -> float:
    try:
        scale = float(Fraction(text)) if text is not None else 1 / 255
    except (ValueError, ZeroDivisionError):
        raise RunError(f"--scale-pixels {text}: a number or a fraction, as in 1/255") from None
    if scale <= 0:
        raise RunError(f"--scale-pixels {text}: it must be above 0")
    return scale


def _mean_std(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        mean, std = text.split("/")
        found = paired(numbers(mean), numbers(std))
    except ValueError:
        found = None
    if (
        found is None
        or len(found[0]) != len(found[1])
        or min(found[1]) <= 0
        or not all(map(math.isfinite, (*found[0], *found[1])))
    ):
        raise RunError(f"--normalise {text}: dataset, none, or MEAN/STD, as in 0.5/0.25 or 0.4,0.5,0.6/0.2,0.2,0.3")
    return found
