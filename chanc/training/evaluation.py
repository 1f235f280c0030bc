"""Score and loss of a network on held-out samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from chanc import plugins
from chanc.errors import ModelError
from chanc.training.feed import Feed
from chanc.training.module import Trainable
from chanc.training.task import Task


@dataclass(frozen=True)
class Evaluation:
    """score: what the task makes of all samples; loss: the task's mean loss, without what belongs to training only."""

    score: float
    loss: float


def evaluate(net: Trainable, task: Task, feed: Feed, *, amp: bool = False) -> Evaluation:
    """Run the network in evaluation mode over all batches, on its device, and leave it in that mode.

    amp: bfloat16 autocast. Raises: ModelError where a teacher of the feed says what is no number, and for whatever a
    task of the user's own raises.
    """
    net.module.eval()
    total = torch.zeros((), dtype=torch.float64, device=feed.device)
    parts = []
    with torch.no_grad(), torch.autocast(feed.device.type, torch.bfloat16, enabled=amp):
        for batch in feed:
            outputs = net.forward(batch.inputs)
            with plugins.guarded(f"the task {task.name}", ModelError):
                total += task.loss(outputs, batch) * len(batch)
                parts.append(task.score(outputs, batch))
    feed.check_teacher()
    with plugins.guarded(f"the task {task.name}", ModelError):
        score = task.reduce(parts)
    return Evaluation(score, float(total) / feed.samples)
