"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from chanc.errors import ModelError
from chanc.training.adas import AdaS
from chanc.training.options import TrainOptions


def make_optimizer(module: nn.Module, options: TrainOptions) -> Optimizer:
    """The optimiser that `options` name, over all parameters of `module` alike; adas is an `AdaS`.

    Raises: ModelError where adas finds no convolution to measure.
    """
    return OPTIMIZERS[options.optimizer](module, options)


def _sgd(module: nn.Module, options: TrainOptions) -> Optimizer:
    return SGD(
        module.parameters(),
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=options.nesterov,
    )


def _adamw(module: nn.Module, options: TrainOptions) -> Optimizer:
    return AdamW(module.parameters(), lr=options.lr, weight_decay=options.weight_decay)


def _adas(module: nn.Module, options: TrainOptions) -> Optimizer:
    try:
        return AdaS(
            module,
            lr=options.lr,
            beta=options.adas_beta,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
            minimum=options.evbmf,
        )
    except ValueError as error:
        raise ModelError(str(error)) from error


OPTIMIZERS: dict[str, Callable[[nn.Module, TrainOptions], Optimizer]] = {"sgd": _sgd, "adamw": _adamw, "adas": _adas}
