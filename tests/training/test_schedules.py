"""Each schedule against its formula, in optimiser steps."""

from __future__ import annotations

import itertools
import math

import pytest

torch = pytest.importorskip("torch")

from chanc.training.optimizers import OPTIMIZERS, make_optimizer  # noqa: E402
from chanc.training.options import OPTIMIZERS as OPTIMIZER_NAMES  # noqa: E402
from chanc.training.options import SCHEDULES as NAMES  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.schedules import SCHEDULES, make_schedule  # noqa: E402

_STEPS = 5


def _rates(options: TrainOptions) -> list[float]:
    """The learning rate of every optimiser step of a run."""
    optimizer = make_optimizer(torch.nn.Linear(2, 2), options)
    schedule = make_schedule(optimizer, options, _STEPS)
    rates = []
    for _ in range(options.epochs * _STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_tables_hold_every_name() -> None:
    assert tuple(SCHEDULES) == NAMES
    assert tuple(OPTIMIZERS) == OPTIMIZER_NAMES


def test_constant() -> None:
    assert _rates(TrainOptions(epochs=4, lr=0.3)) == [0.3] * 20


def test_step() -> None:
    rates = _rates(TrainOptions(epochs=5, lr=0.8, schedule="step", step_epochs=2, step_gamma=0.25))
    assert rates == pytest.approx([0.8] * 10 + [0.2] * 10 + [0.05] * 5, rel=1e-12)


def test_cosine() -> None:
    rates = _rates(TrainOptions(epochs=4, lr=0.3, final_lr=0.1, schedule="cosine"))
    expected = [0.1 + 0.1 * (1 + math.cos(math.pi * k / 20)) for k in range(20)]
    assert rates == pytest.approx(expected, rel=1e-9)


def test_sgdr() -> None:
    options = TrainOptions(epochs=7, lr=0.2, schedule="sgdr", restart_epochs=1, restart_factor=2)
    cycles = [(5, range(5)), (10, range(10)), (20, range(20))]
    expected = [0.1 * (1 + math.cos(math.pi * k / length)) for length, steps in cycles for k in steps]
    assert _rates(options) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_onecycle(optimizer: str) -> None:
    rates = _rates(TrainOptions(epochs=10, lr=0.5, schedule="onecycle", warmup=0.3, optimizer=optimizer))
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.5, rel=0.02)
    assert rates[0] == pytest.approx(0.5 / 25)
    assert top == pytest.approx(0.3 * 50, abs=1)
    assert all(a < b for a, b in itertools.pairwise(rates[: top + 1]))
    assert all(a > b for a, b in itertools.pairwise(rates[top:]))


def test_optimizers_take_the_options() -> None:
    options = TrainOptions(lr=0.2, momentum=0.7, weight_decay=0.01)
    group = make_optimizer(torch.nn.Linear(2, 2), options).param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.2, 0.7, 0.01, False)
    adamw = make_optimizer(torch.nn.Linear(2, 2), TrainOptions(optimizer="adamw", lr=0.2, weight_decay=0.01))
    assert isinstance(adamw, torch.optim.AdamW)
    assert (adamw.param_groups[0]["lr"], adamw.param_groups[0]["weight_decay"]) == (0.2, 0.01)
    adas = make_optimizer(torch.nn.Conv2d(3, 4, 3), TrainOptions(optimizer="adas", lr=0.2, adas_beta=0.6, momentum=0.5))
    assert (adas.beta, adas.momentum, adas.param_groups[0]["lr"]) == (0.6, 0.5, 0.2)
