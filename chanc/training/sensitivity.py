"""The loss of a model whose groups keep some of their units only, all else untouched: many such networks from one.

conv(x without its channels, W without its columns) = conv(x, W * diag(m)),   m: 1 for what stays, else 0

So masks on the weights that read a group are as good as a rewrite (`chanc.training.masks`). What they can't do, since a
norm sees the channels, or no weight reads them, is rewritten and built anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir
import torch

from chanc.analysis import analyze
from chanc.analysis.disjoint_set import IntArray
from chanc.data import Data
from chanc.errors import ModelError
from chanc.ir.sizes import Sizes
from chanc.rewriter import rewrite
from chanc.rewriter.plan import channels_of
from chanc.training.devices import pick_device
from chanc.training.evaluation import Evaluation, evaluate
from chanc.training.feed import Feed, some_feed
from chanc.training.lessons import begun, teacher_of
from chanc.training.masks import Masks
from chanc.training.module import to_device, trainable
from chanc.training.task import Batch, Task
from chanc.training.train import rehearse

Kept = Mapping[str, IntArray]
"""By group: the numbers of the units that stay."""


class Shrinkable:
    """A model in evaluation mode on some training samples; `at` measures it with fewer units.

    data: as the task gives it to the model. A task that wants a teacher has the model itself. batches, batch_size: of
    the samples, drawn by the seed. sizes: of open axes, as `chanc.analyze` takes them.

    Raises: ModelError for a model that PyTorch can't express, run or train.
    """

    def __init__(
        self,
        model: ir.Model,
        data: Data,
        task: Task,
        *,
        device: str = "auto",
        batches: int,
        batch_size: int,
        seed: int = 0,
        sizes: Sizes | None = None,
    ) -> None:
        self.model, self.sizes = model, sizes
        self.net = trainable(model, task)
        rehearse(self.net, data, task)
        self.device = pick_device(device)
        to_device(self.net, self.device)
        taught = teacher_of(model, self.net, data, task) if task.wants_teacher else None
        self.task = begun(task, self.net, data, self.device, seed, taught)
        feed = some_feed(data, self.net.inputs[0], self.device, batches * batch_size, batch_size, seed, taught)
        self.feed = _Once(feed)
        feed.check_teacher()
        self.analysis = analyze(model, dims=sizes, fold=False)
        self.masks = Masks(self.analysis, self.net)

    def at(self, kept: Kept) -> Evaluation:
        """Loss and score where each group that is named keeps these units alone.

        Raises: ChancError, with the reason, where a group can't.
        """
        if kept.keys() <= self.masks.groups.keys():
            return self._masked(kept)
        return self._rewritten(kept)

    def _masked(self, kept: Kept) -> Evaluation:
        slots, factors = dict[str, IntArray](), [np.ones(1, dtype=np.float32)]
        for name, units in kept.items():
            count = self.masks.groups[name].units.size
            slots[name] = np.arange(count) + sum(map(len, factors))
            factors.append(np.isin(np.arange(count), units).astype(np.float32))
        self.masks.place(slots, self.device)
        self.masks.factors = torch.from_numpy(np.concatenate(factors)).to(self.device)
        return evaluate(self.net.through(self.masks.run), self.task, self.feed)

    def _rewritten(self, kept: Kept) -> Evaluation:
        plan = {name: {"keep": channels_of(self.analysis.group(name), units)} for name, units in kept.items()}
        done = rewrite(self.model, plan, transfer="select", dims=self.sizes, fold=False)
        for name, reason in done.trace.left.items():
            raise ModelError(f"group '{name}' can't shrink: {reason}")
        return evaluate(to_device(trainable(done.model, self.task), self.device), self.task, self.feed)


class _Once(Feed):
    """The batches of a feed, made once, with what a teacher says of them."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed.batches, feed.name, labelled=feed.labelled)
        self._made = list(feed)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._made)
