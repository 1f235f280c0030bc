"""One training run: a module, a data set, options; checkpoints that a killed run goes on from, bit by bit.

The whole data set lives on the training device. Every epoch ends with an evaluation on the held-out part and, where a
checkpoint is asked for, with one atomic write of everything that the next epoch depends on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from chanc.data.augment import Augment
from chanc.data.batches import Batches
from chanc.data.dataset import Dataset
from chanc.errors import RunError, TrialError
from chanc.metrics.quality import LayerQuality, gains
from chanc.training.checkpoint import load_state, save_state
from chanc.training.devices import isolated, pick_device
from chanc.training.ema import Ema
from chanc.training.evaluation import EVALUATION_BATCH, check_outputs, evaluate_batches, outputs
from chanc.training.optimizers import make_optimizer
from chanc.training.options import TrainOptions
from chanc.training.records import EpochRecord, StepInfo, TrainResult
from chanc.training.schedules import make_schedule

__all__ = ["EpochRecord", "StepInfo", "TrainOptions", "TrainResult", "train"]

_AUX_WEIGHT = 0.4
# Reading the loss makes the CPU wait for the device; not-a-number stays in the sum, so it is found late but surely.
_CHECK_EVERY = 50
_BULKY = ("data", "model")


OnStep = Callable[[StepInfo], None]
OnEpoch = Callable[[EpochRecord, nn.Module], Mapping[str, Any] | None]


def train(
    module: nn.Module,
    dataset: Dataset,
    options: TrainOptions,
    *,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
    state: Mapping[str, Any] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> TrainResult:
    """Train `module` in place on the training part, evaluate on the test part after every epoch.

    The module is moved to the device, channels-last, and left there in evaluation mode, with averaged weights where
    `ema_decay` is set. It may return a tuple: the main output first, auxiliary ones weigh 0.4 each in the loss.

    on_epoch: called after each evaluation; the JSON values that it returns become the record's metrics and survive in
    the checkpoint. state: `optimizer_state` of an earlier AdaS run ("adas" in it is enough, and is JSON), whose
    learning rates go on.
    checkpoint: a file written after every epoch; where it exists, training goes on from it.

    The caller's random state and torch's global switches are as before afterwards.

    Raises: TrialError for a loss that is not finite or for memory that runs out; DataError for a data set that does
    not fit the module; RunError for a checkpoint of other settings or one that can't be written.
    """
    device = pick_device(options.device)
    begun = time.perf_counter()
    try:
        with isolated(device, options):
            run = _Run(module, dataset, options, device, state)
            done = run.restore(checkpoint) if checkpoint is not None and Path(checkpoint).exists() else 0
            for epoch in range(done, options.epochs):
                run.epoch(epoch, on_step, on_epoch)
                if checkpoint is not None:
                    save_state(checkpoint, run.state())
            return run.finish(time.perf_counter() - begun, done)
    except torch.OutOfMemoryError as error:
        raise TrialError(f"the {device.type} device ran out of memory: {str(error).splitlines()[0]}") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise TrialError(f"out of memory: {str(error).splitlines()[0]}") from error


class _Run:
    """The moving parts of one call of `train`."""

    def __init__(
        self,
        module: nn.Module,
        dataset: Dataset,
        options: TrainOptions,
        device: torch.device,
        state: Mapping[str, Any] | None,
    ) -> None:
        self.module = module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.forward = torch.compile(module) if options.compile else module
        self.dataset = dataset
        self.options = options
        self.device = device
        self.amp = options.amp and device.type == "cuda"
        self.generator = torch.Generator().manual_seed(options.seed)
        augment = Augment(options.crop_padding, options.flip, options.cutout)
        train_images, train_labels = (torch.tensor(a).to(device) for a in (dataset.train_images, dataset.train_labels))
        test_images, test_labels = (torch.tensor(a).to(device) for a in (dataset.test_images, dataset.test_labels))
        self.batches = Batches(
            train_images, train_labels, options.batch_size, dataset.mean, dataset.std, augment, self.generator
        )
        self.held_out = Batches(test_images, test_labels, EVALUATION_BATCH, dataset.mean, dataset.std)
        self.optimizer = make_optimizer(module, options)
        if state is not None:
            if options.optimizer != "adas":
                raise RunError(f"{options.optimizer} has no learning rates to carry over: only adas has")
            self.optimizer.carry_over(state)
        self.schedule = None
        if options.optimizer != "adas":
            self.schedule = make_schedule(self.optimizer, options, len(self.batches))
        self.ema = Ema(module, options.ema_decay) if options.ema_decay is not None else None
        self.history: list[EpochRecord] = []

    def epoch(self, epoch: int, on_step: OnStep | None, on_epoch: OnEpoch | None) -> None:
        """Train on every image once, evaluate, and record it."""
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        loss = self._train_epoch(epoch, on_step)
        qualities = self._measure() if self.options.optimizer == "adas" else {}
        with self.ema.applied() if self.ema is not None else contextlib.nullcontext():
            held_out = evaluate_batches(self.module, self.held_out, amp=self.amp)
            if not math.isfinite(held_out.loss):
                raise TrialError(f"training diverged: the held-out loss is {held_out.loss} after epoch {epoch}")
            record = EpochRecord(epoch, loss, held_out.top1, held_out.loss, math.fsum(rates) / len(rates))
            if on_epoch is not None:
                shown = dataclasses.replace(record, qualities=qualities if self.ema is None else {})
                record = dataclasses.replace(record, metrics=on_epoch(shown, self.module) or {})
        self.history.append(record)

    def _measure(self) -> dict[str, LayerQuality]:
        """Let AdaS's learning rates follow a measurement of the weights; returns it."""
        qualities: dict[str, LayerQuality] = self.optimizer.measure()
        self.optimizer.step_epoch(gains(qualities))
        return qualities

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        return {
            "settings": self._settings(),
            "history": [dataclasses.asdict(record) for record in self.history],
            "module": dict(self.module.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule is not None else None,
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "generator": self.generator.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def restore(self, path: str | os.PathLike[str]) -> int:
        """Take back a checkpoint; returns the epochs that are done. Raises: RunError for one of other settings."""
        state = load_state(path)
        _compare(path, state.get("settings"), self._settings())
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        self.history = [EpochRecord(**record) for record in state["history"]]
        return len(self.history)

    def finish(self, seconds: float, resumed_from: int) -> TrainResult:
        """Leave the module as promised and sum up."""
        if self.ema is not None:
            self.ema.apply()
        self.module.eval()
        last = self.history[-1]
        steps = len(self.batches) * len(self.history)
        carried = self.optimizer.state_dict()
        return TrainResult(tuple(self.history), last.top1, last.test_loss, steps, seconds, resumed_from, carried)

    def _train_epoch(self, epoch: int, on_step: OnStep | None) -> float:
        """Mean loss of the epoch. Raises: TrialError where it is not finite."""
        self.module.train()
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        steps = len(self.batches)
        for step, (images, labels) in enumerate(self.batches):
            loss = self._step(images, labels)
            total += loss * len(labels)
            if step % _CHECK_EVERY == 0 or step == steps - 1 or self.device.type == "cpu":
                _check_finite(total, epoch, step)
            if on_step is not None:
                on_step(StepInfo(epoch, step, steps, loss))
        return float(total) / len(self.batches.labels)

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            main, *aux = outputs(self.forward(images))
            check_outputs(main, self.dataset.classes, self.dataset.name)
            loss = self._loss(main, labels)
            for output in aux:
                loss = loss + _AUX_WEIGHT * self._loss(output, labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.options.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.options.clip_norm)
        self.optimizer.step()
        if self.schedule is not None:
            self.schedule.step()
        if self.ema is not None:
            self.ema.update()
        return loss.detach()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits.float(), labels, label_smoothing=self.options.label_smoothing)

    def _settings(self) -> dict[str, Any]:
        """What a checkpoint must agree on: the options but the device, the data, the shapes of the module."""
        options = dataclasses.asdict(self.options)
        del options["device"]
        data = self.dataset
        contents = [zlib.crc32(labels.tobytes()) for labels in (data.train_labels, data.test_labels)]
        shapes = {name: list(value.shape) for name, value in self.module.state_dict().items()}
        return {**options, "data": [list(data.shape), data.classes, *contents], "model": shapes}


def _compare(path: str | os.PathLike[str], found: Any, wanted: dict[str, Any]) -> None:
    if not isinstance(found, dict):
        raise RunError(f"{path} is not a checkpoint of a training run")
    for name, value in wanted.items():
        if found.get(name) != value:
            said = "other data or another model" if name in _BULKY else f"{name} {found.get(name)}, not {value}"
            raise RunError(f"{path} was made with {said}")


def _check_finite(total: Tensor, epoch: int, step: int) -> None:
    if not bool(torch.isfinite(total)):
        raise TrialError(f"training diverged: the loss is not finite in epoch {epoch}, by step {step}")
