"""The settings of one training run."""

from __future__ import annotations

from dataclasses import dataclass

from chanc.errors import RunError
from chanc.metrics.evbmf import MINIMA, Minimum

OPTIMIZERS = ("sgd", "adamw", "adas")
SCHEDULES = ("constant", "step", "cosine", "onecycle", "sgdr")
DEVICES = ("auto", "cpu", "cuda")


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

    epochs: int = 1
    batch_size: int = 128
    optimizer: str = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    adas_beta: float = 0.8
    evbmf: Minimum = "global"
    schedule: str = "constant"
    step_epochs: int = 25
    step_gamma: float = 0.5
    final_lr: float = 0.0
    warmup: float = 0.3
    restart_epochs: int = 10
    restart_factor: int = 2
    label_smoothing: float = 0.0
    cutout: int = 0
    crop_padding: int = 4
    flip: bool = True
    clip_norm: float | None = None
    ema_decay: float | None = None
    amp: bool = True
    compile: bool = False
    seed: int = 0
    device: str = "auto"
    deterministic: bool = False

    def __post_init__(self) -> None:
        for field, value, names in (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("evbmf", self.evbmf, MINIMA),
            ("schedule", self.schedule, SCHEDULES),
            ("device", self.device, DEVICES),
        ):
            if value not in names:
                raise RunError(f"{field} {value!r} is unknown: one of {', '.join(names)}")
        for field, low, high in _RANGES:
            value = getattr(self, field)
            if value is not None and not low <= value <= high:
                raise RunError(f"{field} {value} lies outside {low:g}..{high:g}")
        if self.lr <= 0:
            raise RunError(f"lr {self.lr} must be above 0")
        if self.optimizer == "adas" and self.schedule != "constant":
            raise RunError(f"optimizer adas sets its own learning rates: schedule {self.schedule} has no meaning")


_INFINITY = float("inf")
_RANGES = (
    ("epochs", 1, _INFINITY),
    ("batch_size", 2, _INFINITY),
    ("lr", 0, _INFINITY),
    ("momentum", 0, 1),
    ("weight_decay", 0, _INFINITY),
    ("adas_beta", 0, 1),
    ("step_epochs", 1, _INFINITY),
    ("step_gamma", 0, 1),
    ("final_lr", 0, _INFINITY),
    ("warmup", 0, 1),
    ("restart_epochs", 1, _INFINITY),
    ("restart_factor", 1, _INFINITY),
    ("label_smoothing", 0, 1),
    ("cutout", 0, _INFINITY),
    ("crop_padding", 0, _INFINITY),
    ("clip_norm", 0, _INFINITY),
    ("ema_decay", 0, 1),
)
