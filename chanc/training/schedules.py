"""Learning-rate schedules by name, all counted in optimiser steps."""

from __future__ import annotations

from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LRScheduler,
    OneCycleLR,
    StepLR,
)

from chanc.training.options import TrainOptions


def make_schedule(optimizer: Optimizer, options: TrainOptions, steps: int) -> LRScheduler:
    """The schedule that `options` name, to be stepped once an optimiser step; `steps`: steps an epoch."""
    return SCHEDULES[options.schedule](optimizer, options, steps)


def _constant(optimizer: Optimizer, options: TrainOptions, steps: int) -> LRScheduler:
    return ConstantLR(optimizer, factor=1.0)


def _step(optimizer: Optimizer, options: TrainOptions, steps: int) -> LRScheduler:
    return StepLR(optimizer, step_size=options.step_epochs * steps, gamma=options.step_gamma)


def _cosine(optimizer: Optimizer, options: TrainOptions, steps: int) -> LRScheduler:
    return CosineAnnealingLR(optimizer, T_max=options.epochs * steps, eta_min=options.final_lr)


def _onecycle(optimizer: Optimizer, options: TrainOptions, steps: int) -> LRScheduler:
    """Smith and Topin 2018, the momentum left alone."""
    # The schedule has as many values as steps; the last optimiser step is followed by one more reading.
    total = options.epochs * steps + 1
    return OneCycleLR(optimizer, options.lr, total_steps=total, pct_start=options.warmup, cycle_momentum=False)


def _sgdr(optimizer: Optimizer, options: TrainOptions, steps: int) -> LRScheduler:
    """Loshchilov and Hutter 2017."""
    first = options.restart_epochs * steps
    return CosineAnnealingWarmRestarts(optimizer, first, options.restart_factor, eta_min=options.final_lr)


SCHEDULES: dict[str, Callable[[Optimizer, TrainOptions, int], LRScheduler]] = {
    "constant": _constant,
    "step": _step,
    "cosine": _cosine,
    "onecycle": _onecycle,
    "sgdr": _sgdr,
}
