"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW

from chanc.training.options import TrainOptions


def make_optimizer(module: nn.Module, options: TrainOptions) -> Any:
    """The optimiser that `options` name, over all parameters of `module` alike.

    A `torch.optim.Optimizer`, or for adas something with its interface and `step_epoch` besides.
    """
    return OPTIMIZERS[options.optimizer](module, options)


def _sgd(module: nn.Module, options: TrainOptions) -> Any:
    return SGD(module.parameters(), lr=options.lr, momentum=options.momentum, weight_decay=options.weight_decay)


def _adamw(module: nn.Module, options: TrainOptions) -> Any:
    return AdamW(module.parameters(), lr=options.lr, weight_decay=options.weight_decay)


def _adas(module: nn.Module, options: TrainOptions) -> Any:
    from chanc.training.adas import AdaS

    return AdaS(
        module,
        lr=options.lr,
        beta=options.adas_beta,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
    )


OPTIMIZERS: dict[str, Callable[[nn.Module, TrainOptions], Any]] = {"sgd": _sgd, "adamw": _adamw, "adas": _adas}
