"""What batches of a task show of a model's units (`chanc.rewriter.importance.gathered`), in one pass over them.

model -> trainable, in evaluation mode -> loss and gradients of each batch -> sums of W dW along all weight axes

All sums stay on the device until the end: no batch waits for the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from chanc.analysis import analyze
from chanc.data import Data
from chanc.ir.sizes import Sizes
from chanc.rewriter.importance.gathered import Gathered, Moments, Place
from chanc.training.devices import pick_device
from chanc.training.feed import some_feed
from chanc.training.lessons import begun, teacher_of
from chanc.training.module import Trainable, to_device, trainable
from chanc.training.readings import Readings
from chanc.training.task import Task
from chanc.training.train import rehearse
from chanc.training.units import SIDES, Indices, UnitMap, unit_map

BATCHES, BATCH = 16, 64
"""How many batches are looked at, and samples of each."""


def gather(
    model: ir.Model,
    data: Data,
    task: Task,
    *,
    teacher: ir.Model | None = None,
    device: str = "auto",
    batches: int = BATCHES,
    batch_size: int = BATCH,
    seed: int = 0,
    activations: bool = False,
    sizes: Sizes | None = None,
) -> Gathered:
    """The evidence of so many batches of training samples, drawn by the seed; fewer where there are fewer samples.

    data: as the task gives it to the model. teacher: of a task that wants one; the model itself where none is given
    (what is drawn then makes up for a loss of nothing: `Task.evidence_loss`). activations: also the sizes of what
    layers read. sizes: of open axes, as `chanc.analyze` takes them.

    Raises: ModelError for a model that PyTorch can't express, run or train, and for a teacher that doesn't fit it.
    """
    net = trainable(model, task)
    rehearse(net, data, task)
    units = unit_map(analyze(model, dims=sizes, fold=False), net)
    where = pick_device(device)
    to_device(net, where).module.eval()
    taught = teacher_of(model if teacher is None else teacher, net, data, task) if task.wants_teacher else None
    task = begun(task, net, data, where, seed, taught)
    feed = some_feed(data, net.inputs[0], where, batches * batch_size, batch_size, seed, taught)
    generator = torch.Generator(where).manual_seed(seed)
    effects = _Effects(net, units, where)
    with Readings(net, units, where, active=activations) as readings:
        for batch in feed:
            net.module.zero_grad(set_to_none=True)
            loss = task.evidence_loss(net.forward(batch.inputs), batch, generator)
            loss.backward()  # type: ignore[no-untyped-call]
            effects.add()
    feed.check_teacher()
    norms, products = readings.means(feed.samples)
    return Gathered(len(feed), effects.by_place(), *effects.by_side(), norms, products)


class _Effects:
    """Running sums of |s|, s and s^2, by position of each weight axis and by unit.

    Of a batch, s is one flat vector, the weight axes one after the other; a unit adds up what is its own in there, once
    for the weights that take it and once for those that make it.
    """

    def __init__(self, net: Trainable, units: UnitMap, device: torch.device) -> None:
        self._map, self._parameters = units, dict(net.module.named_parameters())
        self._shapes = {site.entries: site.shape for site in units.sites}
        self._axes: dict[tuple[str, ...], list[int]] = {entries: [] for entries in self._shapes}
        for site in units.sites:
            if site.axis not in self._axes[site.entries]:
                self._axes[site.entries].append(site.axis)
        self._starts, size = self._offsets()
        self._from = _index([self._starts[site.entries, site.axis] + site.positions for site in units.sites], device)
        self._to = _index([site.units + units.count * SIDES.index(site.side) for site in units.sites], device)
        self._positions = torch.zeros(3, size, dtype=torch.float64, device=device)
        self._units = torch.zeros(3, 2 * units.count, dtype=torch.float64, device=device)

    def _offsets(self) -> tuple[dict[tuple[tuple[str, ...], int], int], int]:
        """Where in the flat vector each weight axis begins, and how long it is."""
        starts, size = {}, 0
        for entries, axes in self._axes.items():
            for axis in axes:
                starts[entries, axis] = size
                size += self._shapes[entries][axis]
        return starts, size

    @torch.no_grad()
    def add(self) -> None:
        """Count the gradients that the parameters have now."""
        rows = [row for entries in self._axes for row in self._rows(entries)]
        if not rows:
            return
        flat = torch.cat(rows).double()
        units = flat.new_zeros(self._units.shape[1]).index_add_(0, self._to, flat[self._from])
        for sums, found in ((self._positions, flat), (self._units, units)):
            sums += torch.stack([found.abs(), found, found.square()])

    def _rows(self, entries: tuple[str, ...]) -> Iterator[Tensor]:
        """The sums of W dW along the axes of a weight, as its initializer has them."""
        product = self._parameters[entries[0]].new_zeros(self._shapes[entries])
        for key in entries:
            value = self._parameters[key]
            if value.grad is not None:
                product = self._map.bindings[key].to_initializer(value * value.grad, product)
        for axis in self._axes[entries]:
            others = [other for other in range(product.ndim) if other != axis]
            yield product.sum(others) if others else product

    def by_place(self) -> dict[Place, Moments]:
        """The moments of the positions on each weight axis."""
        sums, found = self._positions.cpu().numpy(), {}
        for site in self._map.sites:
            start = self._starts[site.entries, site.axis]
            found[site.place] = Moments(*sums[:, start : start + site.shape[site.axis]])
        return found

    def by_side(self) -> tuple[dict[str, Moments], dict[str, Moments]]:
        """The moments of each group's units: as weights take them, and as weights make them."""
        sums = self._units.cpu().numpy().reshape(3, 2, -1)
        taken, made = (
            {
                name: Moments(*sums[:, number, self._map.spans[name]])
                for name in dict.fromkeys(site.group for site in self._map.sites if site.side == side)
            }
            for number, side in enumerate(SIDES)
        )
        return taken, made


def _index(parts: Sequence[Indices], device: torch.device) -> Tensor:
    return torch.from_numpy(np.concatenate([np.empty(0, dtype=np.int64), *parts])).to(device)
