"""Distillation: a network learns to say what its teacher says, from inputs alone; no label is looked at.

loss = mean over outputs of   mean (s - t)^2 / var t                  any output of floats
                              1/2 sum (p - q) (log p - log q)         a classifier's: KL both ways, at temperature 1

s and t are what student and teacher say, p and q the softmax of that; var t is the teacher's own spread, over all
numbers of the output on some training samples, so that no output drowns another one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import onnx_ir as ir

from chanc.data import Data, Samples
from chanc.errors import ModelError
from chanc.tasks.registry import TASKS
from chanc.training.images import fit_images
from chanc.training.inputs import fit_samples
from chanc.training.task import Batch, Outputs, Task

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Heads:
    """What is known of the teacher's outputs: the axis of classes of a classifier's, the variance of any other one."""

    axes: Mapping[str, int]
    spreads: Mapping[str, float]


@TASKS.register("distillation")
@dataclass(frozen=True)
class Distillation(Task):
    """Every float output of the teacher is matched, whatever its rank; outputs of whole numbers are left out.

    A classifier's output is one that ends in a Softmax, which is left out while training, and with `logits` any
    [B, classes]. Score: the agreement with the teacher, at best 1; the mean over the outputs of the share of samples
    (or places) with the same top class, of other outputs 1 - mean (s - t)^2 / var t.
    """

    logits: bool = field(default=False, metadata={
        "help": "Outputs [B, C] are logits of classes, also where no Softmax says so."})  # fmt: skip
    heads: Heads | None = field(default=None, init=False, repr=False, compare=False)

    name = "distillation"
    score_name = "agreement"
    takes_logits = True
    wants_teacher = True

    def fit(self, model: ir.Model, data: Data) -> Data:
        """Images at the model's input size and in its layout, or any other samples as its inputs take them.

        Raises: DataError or ModelError where they don't fit, or where the model has no output of floats.
        """
        if not any(value.dtype is None or value.dtype.is_floating_point() for value in model.graph.outputs):
            raise ModelError("the model has no output of floats: there is nothing to learn from")
        return fit_samples(model, data) if isinstance(data, Samples) else fit_images(model, data)

    def begin(self, heads: Mapping[str, int], batches: Iterable[Batch]) -> Self:
        """Measure the spread of the teacher's outputs.

        Raises: ModelError for an output that holds NaN or Inf, or where none is of floats.
        """
        import torch

        axes: dict[str, int] = {}
        said: dict[str, list[Tensor]] = {}
        for batch in batches:
            for name, value in _floats(batch):
                axis = 1 if self.logits and value.ndim == 2 else heads.get(name)
                if axis is not None:
                    axes[name] = axis
                wide = value.double()
                sums = [wide.sum(), wide.square().sum(), wide.new_tensor(wide.numel())]
                said.setdefault(name, []).append(torch.stack(sums))
        moments = {name: torch.stack(parts).sum(0).tolist() for name, parts in said.items()}
        spreads = {name: _spread(name, *of) for name, of in moments.items()}
        if not spreads:
            raise ModelError("the teacher has no output of floats: there is nothing to learn from")
        kept = {name: spread for name, spread in spreads.items() if name not in axes}
        begun = copy.copy(self)
        object.__setattr__(begun, "heads", Heads(axes, kept))  # what was measured is no option
        return begun

    def loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The mean over the outputs: squared errors in units of the teacher's variance, divergences in nats."""
        import torch

        parts = [self._apart(*pair) for pair in self._pairs(outputs, batch)]
        return torch.stack(parts).mean()

    def evidence_loss(self, outputs: Outputs, batch: Batch, generator: Generator) -> Tensor:
        """The loss, and what random errors of the teacher would add to it.

        Where the student still says what its teacher says, the loss has no gradient: all that a unit is worth is in
        its curvature. The teacher's outputs are drawn, t + e with e of the output's own spread, or a class with the
        teacher's own probability, and scaled so that a unit's sum s of W dW has

            E s^2 = (its part of the loss)^2 + the loss that removing it costs, to second order.
        """
        import torch

        found = [self._probe(*pair, generator) for pair in self._pairs(outputs, batch)]
        return self.loss(outputs, batch) + torch.stack(found).sum() / math.sqrt(len(found))

    def score(self, outputs: Outputs, batch: Batch) -> tuple[Tensor, int]:
        """The sum of the samples' agreements, and samples."""
        import torch

        found = [self._agreement(*pair) for pair in self._pairs(outputs, batch)]
        return torch.stack(found).mean() * len(batch), len(batch)

    @property
    def _known(self) -> Heads:
        if self.heads is None:
            raise ModelError("distillation has to look at its teacher first (Task.begin)")
        return self.heads

    def _pairs(self, outputs: Outputs, batch: Batch) -> Iterator[tuple[str, Tensor, Tensor]]:
        """What student and teacher say, in float32, by output. Raises: ModelError where they don't go together."""
        for name, said in _floats(batch):
            mine = outputs.get(name)
            if mine is None or mine.shape != said.shape:
                told = "doesn't have" if mine is None else f"makes {list(mine.shape)} of"
                raise ModelError(f"the teacher's output '{name}' is {list(said.shape)}, which the student {told}")
            yield name, mine.float(), said.float()

    def _apart(self, name: str, mine: Tensor, said: Tensor) -> Tensor:
        axis = self._known.axes.get(name)
        if axis is not None:
            return _divergence(mine, said, axis)
        error: Tensor = (mine - said).square().mean() / self._known.spreads[name]
        return error

    def _agreement(self, name: str, mine: Tensor, said: Tensor) -> Tensor:
        axis = self._known.axes.get(name)
        if axis is not None:
            return (mine.argmax(axis) == said.argmax(axis)).double().mean()
        return 1 - self._apart(name, mine, said).double()

    def _probe(self, name: str, mine: Tensor, said: Tensor, generator: Generator) -> Tensor:
        """A random direction of the output, of the length that makes the square of a step along it a loss."""
        import torch
        from torch.nn import functional

        axis = self._known.axes.get(name)
        if axis is None:
            noise = torch.randn(mine.shape, generator=generator, device=mine.device)
            return (noise * mine).sum() / math.sqrt(mine.numel() * self._known.spreads[name])
        rows = mine.movedim(axis, -1).flatten(0, -2)
        drawn = torch.multinomial(said.movedim(axis, -1).flatten(0, -2).softmax(-1), 1, generator=generator)[:, 0]
        return functional.cross_entropy(rows, drawn, reduction="sum") / math.sqrt(2 * len(rows))


def _floats(batch: Batch) -> Iterator[tuple[str, Tensor]]:
    """What the teacher says in floats. Raises: ModelError where there is no teacher."""
    if batch.teacher is None:
        raise ModelError("distillation needs a teacher: a model whose outputs are learned")
    yield from ((name, value) for name, value in batch.teacher.items() if value.is_floating_point() and value.numel())


def _spread(name: str, total: float, squares: float, count: float) -> float:
    """The variance; of an output that is the same everywhere its square, 1 where that is 0.

    Raises: ModelError for what is no number.
    """
    mean, power = total / count, squares / count
    if not power < float("inf"):
        raise ModelError(f"the teacher's output '{name}' holds NaN or Inf: nothing can be learned from it")
    variance = power - mean**2
    return variance if variance > 1e-9 * power else power or 1.0


def _divergence(mine: Tensor, said: Tensor, axis: int) -> Tensor:
    """KL both ways, in nats, halved: the mean over all but the axis of the classes."""
    p, q = mine.log_softmax(axis), said.log_softmax(axis)
    apart: Tensor = 0.5 * ((p.exp() - q.exp()) * (p - q)).sum(axis).mean()
    return apart
