"""From a graph to the same graph with trained values: what `chanc train`, a search's trials and its final trainings do.

trainable -> trained for a task on its data -> written back
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir
import torch
import torch.distributed as dist

from chanc.clock import Clock
from chanc.cost.cost import cost
from chanc.data import Data, Samples
from chanc.errors import ModelError
from chanc.training.adas import Schedule
from chanc.training.devices import pick_device, precision
from chanc.training.distributed import together
from chanc.training.evaluation import evaluate
from chanc.training.feed import few, held_out_feed
from chanc.training.lessons import begun, teacher_of
from chanc.training.module import Trainable, to_device, trainable
from chanc.training.options import TrainOptions
from chanc.training.records import TrainResult
from chanc.training.task import Task
from chanc.training.trainer import OnEpoch, OnStep, train_module


@dataclass(frozen=True)
class Trained:
    """What came of a training: the network's params, the trainer's result, and seconds by what they went into."""

    params: int
    result: TrainResult
    spent: Mapping[str, float] = field(default_factory=dict)


def train(
    model: ir.Model,
    data: Data,
    task: Task,
    options: TrainOptions,
    *,
    start: Callable[[Trainable], None] | None = None,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
    rates: Schedule | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    teacher: ir.Model | None = None,
    judge_every: int = 1,
) -> Trained:
    """Train the values of `model`, in place, on data that fits it (`task.fit`); its graph stays as it is.

    Its metadata tell from then on how it takes its pixels.

    start: shown the network, still on the CPU, to measure it or to draw its weights anew. teacher: whom a task
    that wants one learns from, a model with the same inputs. Within `chanc.training.distributed.joined` all processes
    train together. The others are those of `chanc.training.trainer.train_module`.

    Raises: ModelError for a model that PyTorch can't express or run on batches; and what `train_module` raises.
    """
    clock = Clock()
    net = trainable(model, task)
    rehearse(net, data, task)
    taught = _teacher(teacher, net, data, task)
    clock.lap("codegen")
    if start is not None:
        start(net)
    run = together(net, options) if dist.is_available() and dist.is_initialized() else net
    result = train_module(
        run, data, task, options, on_step=on_step, on_epoch=on_epoch, rates=rates, checkpoint=checkpoint,
        teacher=taught, judge_every=judge_every, clock=clock,
    )  # fmt: skip
    net.write_back(model)
    model.metadata_props.update(data.metadata())
    params = cost(net.graph).params
    clock.lap("prepare")
    return Trained(params, result, clock.seconds)


def score(net: Trainable, data: Data, task: Task, options: TrainOptions, teacher: ir.Model | None = None) -> float:
    """The task's score of the network as it is, on the test part. Raises: as `train`."""
    device = pick_device(options.device)
    taught = _teacher(teacher, net, data, task)
    begin = begun(task, to_device(net, device), data, device, options.seed, taught)
    feed = held_out_feed(data, net.inputs[0], device, taught)
    return evaluate(net, begin, feed, amp=precision(options) == "bfloat16").score


def _teacher(model: ir.Model | None, net: Trainable, data: Data, task: Task) -> Trainable | None:
    """The teacher of a task that wants one. Raises: ModelError where there is none."""
    if not task.wants_teacher:
        return None
    if model is None:
        raise ModelError(f"{task.name} needs a teacher: a model whose outputs are learned")
    return teacher_of(model, net, data, task)


def rehearse(net: Trainable, data: Data, task: Task) -> None:
    """Run a small batch on the CPU, where a network is made, before anything is spent on a training.

    Raises: ModelError where the network can't run on a batch of several samples or where nothing in it trains, and what
    `task.check` raises.
    """
    try:
        with torch.random.fork_rng([]):
            outputs = net.forward(few(data, net.inputs[0], 3))
    except (RuntimeError, ValueError) as error:
        said = "samples" if isinstance(data, Samples) else "images"
        raise ModelError(f"the model can't be run on a batch of {said}: {str(error).splitlines()[0]}") from error
    if not any(value.requires_grad for value in outputs.values()):
        raise ModelError("nothing in the model trains: no gradient reaches its weights, as in a quantised model "
                         "(train the float model and quantise it again)")  # fmt: skip
    task.check(outputs, data)
