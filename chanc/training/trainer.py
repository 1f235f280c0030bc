"""One training run: a network, a task, a data set, options; checkpoints that a killed run goes on from, bit by bit.

The whole data set lives on the training device. Every epoch ends with an evaluation on the held-out part and, where a
checkpoint is asked for, with one atomic write of everything that the next epoch depends on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn
from torch.optim.optimizer import StateDict

from chanc.clock import Clock
from chanc.data import Data
from chanc.errors import RunError, TrialError
from chanc.metrics.quality import LayerQuality, gains
from chanc.training.adas import AdaS, Schedule
from chanc.training.checkpoint import load_state, save_state
from chanc.training.devices import isolated, pick_device, precision
from chanc.training.dropping import Dropping
from chanc.training.ema import Ema, EmaState
from chanc.training.evaluation import Evaluation, evaluate
from chanc.training.feed import Feed, held_out_feed, training_feed
from chanc.training.lessons import begun
from chanc.training.module import Trainable, to_device
from chanc.training.optimizers import make_optimizer
from chanc.training.options import TrainOptions
from chanc.training.records import EpochRecord, StepInfo, TrainResult
from chanc.training.schedules import make_schedule
from chanc.training.task import Batch, Task

# Reading the loss makes the CPU wait for the device; not-a-number stays in the sum, so it is found late but surely.
CHECK_EVERY = 50
_BULKY = ("data", "model")

OnStep = Callable[[StepInfo], None]
OnEpoch = Callable[[EpochRecord, nn.Module], Mapping[str, object] | None]


def train_module(
    net: Trainable,
    data: Data,
    task: Task,
    options: TrainOptions,
    *,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
    rates: Schedule | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    teacher: Trainable | None = None,
    judge_every: int = 1,
    clock: Clock | None = None,
) -> TrainResult:
    """Train `net` in place on the training part, evaluate on the test part.

    Its module is moved to the device, channels-last, and left there in evaluation mode, with averaged weights where
    `ema_decay` is set.

    on_epoch: called after each epoch; the JSON values that it returns become the record's metrics and survive in
    the checkpoint. rates: learning rates of an earlier AdaS run that go on ("adas" in its `optimizer_state`).
    checkpoint: a file written after every epoch; where it exists, training goes on from it. teacher: whom a task that
    wants one learns from. judge_every: epochs from one evaluation to the next, whose score and loss are NaN in between;
    the last epoch is always judged. clock: what time goes into is booked there: preparing, training, evaluating,
    measuring of layers, saving of checkpoints.

    The caller's random state and torch's global switches are as before afterwards.

    Raises: TrialError for a loss that is not finite or for memory that runs out; DataError for a data set that does
    not fit the network; ModelError for a teacher that says what is no number; RunError for a checkpoint of other
    settings or one that can't be written.
    """
    device = pick_device(options.device)
    clock = clock or Clock()
    try:
        with isolated(device, options):
            run = Training(net, data, task, options, device, rates, teacher, judge_every, clock=clock)
            done = run.restore(checkpoint) if checkpoint is not None and Path(checkpoint).exists() else 0
            for epoch in range(done, options.epochs):
                run.epoch(epoch, on_step, on_epoch)
                if checkpoint is not None:
                    save_state(checkpoint, run.state())
                    clock.lap("save")
            return run.finish(done)
    except torch.OutOfMemoryError as error:
        raise TrialError(f"the {device.type} device ran out of memory: {str(error).splitlines()[0]}") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise TrialError(f"out of memory: {str(error).splitlines()[0]}") from error


class _State(TypedDict):
    """Everything that the next epoch depends on."""

    settings: dict[str, object]
    history: list[dict[str, Any]]
    module: dict[str, Tensor]
    optimizer: StateDict
    schedule: StateDict | None
    ema: EmaState | None
    generator: Tensor
    random: Tensor
    random_cuda: Tensor | None


class Training:
    """The moving parts of one training, such as a call of `train_module`."""

    def __init__(
        self,
        net: Trainable,
        data: Data,
        task: Task,
        options: TrainOptions,
        device: torch.device,
        rates: Schedule | None = None,
        teacher: Trainable | None = None,
        judge_every: int = 1,
        *,
        clock: Clock,
    ) -> None:
        self.net = to_device(net, device)
        self.module = net.module
        self.compiled = compiled(net, device) if options.compile and net.run is None else net
        self.data, self.options, self.device = data, options, device
        self.amp = precision(options) == "bfloat16"
        self.generator = torch.Generator().manual_seed(options.seed)
        self.task = begun(task, self.net, data, device, options.seed, teacher)
        self.feed = training_feed(data, options, net.inputs[0], device, self.generator, teacher)
        self.held_out = held_out_feed(data, net.inputs[0], device, teacher)
        self.dropping = Dropping(net, drop_path=options.drop_path, spatial=options.spatial_dropout)
        self.optimizer = make_optimizer(net.module, options)
        if rates is not None:
            if not isinstance(self.optimizer, AdaS):
                raise RunError(f"{options.optimizer} has no learning rates to carry over: only adas has")
            self.optimizer.carry_over(rates)
        self.schedule = None
        if options.optimizer != "adas":
            self.schedule = make_schedule(self.optimizer, options, len(self.feed))
        self.ema = Ema(net.module, options.ema_decay) if options.ema_decay is not None else None
        self.history: list[EpochRecord] = []
        self.judge_every, self.clock = judge_every, clock

    def epoch(self, epoch: int, on_step: OnStep | None, on_epoch: OnEpoch | None) -> None:
        """Train on every image once, evaluate where it is due, and record it."""
        rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.clock.lap("prepare")
        loss = self.train_epoch(epoch, on_step)
        self.clock.lap("train")
        qualities = self._measure()
        self.clock.lap("measure")
        with self.ema.applied() if self.ema is not None else contextlib.nullcontext():
            held_out = self._judge(epoch)
            self.clock.lap("evaluate")
            record = EpochRecord(epoch, loss, held_out.score, held_out.loss, math.fsum(rates) / len(rates))
            if on_epoch is not None:
                shown = dataclasses.replace(record, qualities=qualities if self.ema is None else {})
                record = dataclasses.replace(record, metrics=on_epoch(shown, self.module) or {})
        self.history.append(record)
        self.clock.lap("measure")

    def _judge(self, epoch: int) -> Evaluation:
        """Score and loss on the held-out part, NaN where the epoch is none of those that are judged."""
        if (epoch + 1) % self.judge_every and epoch + 1 != self.options.epochs:
            return Evaluation(math.nan, math.nan)
        held_out = evaluate(self.net, self.task, self.held_out, amp=self.amp)
        if not math.isfinite(held_out.loss):
            raise TrialError(f"training diverged: the held-out loss is {held_out.loss} after epoch {epoch}")
        return held_out

    def _measure(self) -> dict[str, LayerQuality]:
        """Let AdaS's learning rates follow a measurement of the weights; returns it. Nothing for other optimizers."""
        if not isinstance(self.optimizer, AdaS):
            return {}
        qualities = self.optimizer.measure()
        self.optimizer.step_epoch(gains(qualities))
        return qualities

    def state(self) -> Mapping[str, object]:
        """What `restore` takes back."""
        state: _State = {
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
        return state

    def restore(self, path: str | os.PathLike[str]) -> int:
        """Take back a checkpoint; returns the epochs that are done. Raises: RunError for one of other settings."""
        found = load_state(path)
        _compare(path, found.get("settings"), self._settings())
        state = cast(_State, found)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None and state["schedule"] is not None:
            self.schedule.load_state_dict(state["schedule"])
        if self.ema is not None and state["ema"] is not None:
            self.ema.load_state_dict(state["ema"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["random"])
        if self.device.type == "cuda" and state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        self.history = [EpochRecord(**record) for record in state["history"]]
        return len(self.history)

    def finish(self, resumed_from: int) -> TrainResult:
        """Leave the module as promised and sum up."""
        if self.ema is not None:
            self.ema.apply()
        self.dropping.remove()
        self.module.eval()
        last = self.history[-1]
        return TrainResult(
            history=tuple(self.history),
            score=last.score,
            loss=last.test_loss,
            steps=len(self.feed) * len(self.history),
            resumed_from=resumed_from,
            optimizer_state=self.optimizer.state_dict(),
            precision=precision(self.options),
        )

    def train_epoch(self, epoch: int, on_step: OnStep | None) -> float:
        """Train on every image once; the mean loss. Raises: TrialError where it is not finite."""
        self.module.train()
        self.dropping.at(min(1, epoch / self.options.epochs))
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        steps = len(self.feed)
        for step, batch in enumerate(self.feed):
            loss = self._step(batch)
            total += loss * len(batch)
            if step % CHECK_EVERY == 0 or step == steps - 1 or self.device.type == "cpu":
                check_finite(total, epoch, step, self.feed)
            if on_step is not None:
                on_step(StepInfo(epoch, step, steps, loss))
        return float(total) / self.feed.samples

    def loss(self, batch: Batch) -> Tensor:
        """The task's loss of a batch."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            outputs = self.compiled.forward(batch.inputs)
            self.task.check(outputs, self.data)
            return self.task.loss(outputs, batch)

    def _step(self, batch: Batch) -> Tensor:
        # Before the forward pass: a CUDA graph that is played again writes where the last gradients lie.
        self.optimizer.zero_grad()
        loss = self.loss(batch)
        descend(loss, self.module, self.optimizer, self.options.clip_norm)
        if self.schedule is not None:
            self.schedule.step()
        if self.ema is not None:
            self.ema.update()
        return loss.detach()

    def _settings(self) -> dict[str, object]:
        """What a checkpoint must agree on: the task, the options but the device, the data, the shapes of the module."""
        options = dataclasses.asdict(self.options)
        del options["device"]
        shapes = {name: list(value.shape) for name, value in self.module.state_dict().items()}
        return {"task": repr(self.task), **options, "data": self.data.fingerprint(), "model": shapes}


def descend(loss: Tensor, module: nn.Module, optimizer: torch.optim.Optimizer, clip_norm: float | None) -> None:
    """One step of the optimizer down the gradient of a loss; gradients were cleared before the loss was computed."""
    loss.backward()  # type: ignore[no-untyped-call]
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(module.parameters(), clip_norm)
    optimizer.step()


def compiled(net: Trainable, device: torch.device) -> Trainable:
    """The network through torch.compile; on a GPU its kernels are launched as CUDA graphs, one for each batch size."""
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    return net.through(torch.compile(net.module, mode=mode))


def _compare(path: str | os.PathLike[str], found: object, wanted: Mapping[str, object]) -> None:
    if not isinstance(found, dict):
        raise RunError(f"{path} is not a checkpoint of a training run")
    for name, value in wanted.items():
        if found.get(name) != value:
            said = "other data or another model" if name in _BULKY else f"{name} {found.get(name)}, not {value}"
            raise RunError(f"{path} was made with {said}")


def check_finite(total: Tensor, epoch: int, step: int, feed: Feed | None = None) -> None:
    """Raise TrialError where a sum of losses is no number any more, ModelError where the teacher of a feed is why."""
    if not bool(torch.isfinite(total)):
        if feed is not None:
            feed.check_teacher()
        raise TrialError(f"training diverged: the loss is not finite in epoch {epoch}, by step {step}")
