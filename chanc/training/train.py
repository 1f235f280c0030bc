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
from chanc.data.dataset import Dataset
from chanc.errors import ModelError
from chanc.training.adas import Schedule
from chanc.training.devices import pick_device, precision
from chanc.training.distributed import together
from chanc.training.evaluation import evaluate
from chanc.training.feed import held_out_feed
from chanc.training.images import fixed_batch, image_input
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
    data: Dataset,
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
    if task.wants_teacher and teacher is None:
        raise ModelError(f"{task.name} needs a teacher: a model whose outputs are learned")
    clock = Clock()
    net = trainable(model, task)
    rehearse(net, data, task)
    clock.lap("codegen")
    if start is not None:
        start(net)
    run = together(net, options) if dist.is_available() and dist.is_initialized() else net
    taught = trainable(teacher, task) if teacher is not None and task.wants_teacher else None
    result = train_module(
        run, data, task, options, on_step=on_step, on_epoch=on_epoch, rates=rates, checkpoint=checkpoint,
        teacher=taught, judge_every=judge_every, clock=clock,
    )  # fmt: skip
    net.write_back(model)
    model.metadata_props.update(data.input.metadata())
    params = cost(net.graph).params
    clock.lap("prepare")
    return Trained(params, result, clock.seconds)


def score(net: Trainable, data: Dataset, task: Task, options: TrainOptions) -> float:
    """The task's score of the network as it is, on the test part."""
    device = pick_device(options.device)
    feed = held_out_feed(data, net.inputs[0], device)
    return evaluate(to_device(net, device), task, feed, amp=precision(options) == "bfloat16").score


def rehearse(net: Trainable, data: Dataset, task: Task) -> None:
    """Run a small batch on the CPU, where a network is made, before anything is spent on a training.

    Raises: ModelError where the network can't run on a batch of several images or where nothing in it trains, and what
    `task.check` raises.
    """
    images = torch.tensor(data.test_images[:3]).float()
    if data.input.layout == "NHWC":
        images = images.permute(0, 2, 3, 1)
    try:
        with torch.random.fork_rng([]):
            outputs = net.forward({net.inputs[0]: images})
    except (RuntimeError, ValueError) as error:
        fixed = fixed_batch(image_input(net.graph))
        why = f"its batch is fixed to {fixed}, export it with a dynamic batch" if fixed else str(error).splitlines()[0]
        raise ModelError(f"the model can't be run on a batch of images: {why}") from error
    if not any(value.requires_grad for value in outputs.values()):
        raise ModelError("nothing in the model trains: no gradient reaches its weights, as in a quantised model "
                         "(train the float model and quantise it again)")  # fmt: skip
    task.check(outputs, data)
