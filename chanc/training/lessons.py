"""A teacher beside its student: that they take the same inputs, and what a task has to know before the first step."""

from __future__ import annotations

import dataclasses

import onnx_ir as ir
import torch

from chanc.data import Data
from chanc.errors import ModelError
from chanc.ir.turns import Turns
from chanc.training.feed import NUMBERS, few, some_feed
from chanc.training.module import Trainable, to_device, trainable
from chanc.training.task import Task

LOOKED, BATCH = 256, 64
"""How many training samples a task looks at before the first step, and how many at a time; fewer of large ones."""


def teacher_of(model: ir.Model, net: Trainable, data: Data, task: Task) -> Trainable:
    """`model` as the teacher of `net`: inputs and outputs of other names are taken in their order.

    Raises: ModelError where it has others than the student, or can't be run on the data.
    """
    made = trainable(model, task)
    for what in ("inputs", "outputs"):
        mine, theirs = getattr(net, what), getattr(made, what)
        if len(mine) != len(theirs):
            raise ModelError(f"the student has {len(mine)} {what} ({', '.join(mine)}), "
                             f"the teacher {len(theirs)} ({', '.join(theirs)})")  # fmt: skip
    same = set(net.inputs) == set(made.inputs), set(net.outputs) == set(made.outputs)
    inputs, outputs = (own if alike else mine for alike, own, mine in
                       zip(same, (made.inputs, made.outputs), (net.inputs, net.outputs), strict=True))  # fmt: skip
    renamed = dict(zip(made.outputs, outputs, strict=True))
    heads = {renamed[name]: axis for name, axis in made.heads.items()}
    turns = Turns(dict(zip(inputs, made.turns.ranks.values(), strict=True)), made.turns.batch, made.turns.open)
    teacher = dataclasses.replace(made, inputs=inputs, outputs=outputs, heads=heads, turns=turns)
    try:
        with torch.no_grad(), torch.random.fork_rng([]):
            teacher.forward(few(data, net.inputs[0], 2))
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"the teacher can't be run on what the student takes: {str(error).splitlines()[0]}") from error
    return teacher


def begun(
    task: Task, net: Trainable, data: Data, device: torch.device, seed: int, teacher: Trainable | None = None
) -> Task:
    """The task as it is for this network, this teacher and these data; the teacher is on the device from then on."""
    if teacher is not None:
        to_device(teacher, device)
    heads = {**(teacher.heads if teacher is not None else {}), **net.heads}
    at_once = max(1, min(BATCH, NUMBERS // data.numbers))
    count = at_once * LOOKED // BATCH
    return task.begin(heads, some_feed(data, net.inputs[0], device, count, at_once, seed, teacher))
