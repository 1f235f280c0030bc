"""Masks on the columns of weights in training, one for each edge, and what the loss hangs on each.

    g[e] = sum over the columns of e of W dW    ( = sum over samples and positions of x dx )

is the gradient of a gate on edge e, open at 1: removing e changes the loss of the batch by -g[e], to first order. The
equality holds where nothing behind the weight looks at the whole batch: BatchNorm in evaluation mode. Of b batches

    taylor       sum_b |g|              the smallest go first
    reciprocal   sum_b 1 / (|g| + eps)  the largest go first
    squared      sum_b g^2              the smallest
    elementwise  sum_b mean |x dx|      the smallest; x and dx as layers read them, no sum over W dW knows of them

each divided by its norm over the edges of one consumer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from chanc.analysis import Analysis
from chanc.errors import ModelError
from chanc.training.consumers import Decided, Edges, Kept, edges_of
from chanc.training.masks import in_entry
from chanc.training.module import Trainable
from chanc.training.readings import CONVOLUTIONS
from chanc.training.task import Batch
from chanc.training.units import UnitMap, unit_map

Saliency = Literal["taylor", "reciprocal", "squared", "elementwise"]
Scores = NDArray[np.float64]
EPS = 1e-8
"""Of `reciprocal`: what a product of nothing is taken for."""


class Columns:
    """The columns of a network's weights by edge; `kept` says which are there.

    A column that is gone is zero and gets no gradient, and the optimizer remembers nothing of it: it stays zero. The
    network's own code and shapes stay as they are.
    """

    def __init__(self, net: Trainable, edges: Edges, units: UnitMap) -> None:
        """`units`: of the model in the network, as the edges were found with."""
        self.net, self.edges = net, edges
        self.kept: Kept = np.ones(len(edges), dtype=bool)
        parameters = dict(net.module.named_parameters())
        # Entry 0 of all that is looked up by these is for positions without an edge.
        self._index = {
            key: torch.from_numpy(in_entry(units.bindings[key], 1 + one.line, one.shape, one.axis)).to(value.device)
            for one in edges.consumers for key in one.entries for value in (parameters[key],)
        }  # fmt: skip
        self._parameters = {key: parameters[key] for key in self._index}
        self._masks: dict[str, Tensor] = {}
        for key, value in self._parameters.items():
            value.register_post_accumulate_grad_hook(self._silence(key))  # type: ignore[no-untyped-call]

    def keep(self, kept: Kept, optimizer: Optimizer | None = None) -> None:
        """Have these edges alone, of which none was gone before; `optimizer` forgets about the others."""
        self.kept = kept
        factors = torch.from_numpy(np.concatenate([[True], kept]))
        for key, value in self._parameters.items():
            mask = self._masks[key] = factors.to(value.device)[self._index[key]]
            state = optimizer.state.get(value, {}) if optimizer is not None else {}
            with torch.no_grad():
                for tensor in (value, *state.values()):
                    if isinstance(tensor, Tensor) and tensor.shape == value.shape:
                        tensor.masked_fill_(~mask, 0.0)

    def gates(self) -> Tensor:
        """The gradients of the gates on all edges, from those that the weights have now: [edges], float64."""
        found = torch.zeros(1 + len(self.edges), dtype=torch.float64, device=self._device)
        for key, value in self._parameters.items():
            if value.grad is not None:
                index = self._index[key]
                across = [axis for axis in range(value.dim()) if index.shape[axis] == 1]
                product = (value.detach() * value.grad).double()
                summed = product.sum(across, keepdim=True) if across else product
                found.index_add_(0, index.flatten(), summed.flatten())
        return found[1:]

    def scores(self, batches: Iterable[Batch], loss: Callable[[Batch], Tensor], form: Saliency) -> Scores:
        """How much the loss hangs on each edge: [edges], the least goes first; nan of those that are gone.

        loss: of a batch, in which the network is called. The network is left in evaluation mode, without gradients.
        """
        self.net.module.eval()
        total = torch.zeros(len(self.edges), dtype=torch.float64, device=self._device)
        with self._read(form == "elementwise") as read:
            for batch in batches:
                self.net.module.zero_grad(set_to_none=True)
                loss(batch).backward()  # type: ignore[no-untyped-call]
                total += read.pop() if form == "elementwise" else _shape(self.gates(), form)
        self.net.module.zero_grad(set_to_none=True)
        return self._normalised(total.cpu().numpy(), -1 if form == "reciprocal" else 1)

    def _normalised(self, total: Scores, sign: int) -> Scores:
        """Divided by its norm over each consumer's edges that are there."""
        found = np.full(len(self.edges), np.nan)
        for one in self.edges.consumers:
            there = np.arange(one.edges.start, one.edges.stop)[self.kept[one.edges]]
            found[there] = sign * total[there] / max(float(np.linalg.norm(total[there])), np.finfo(float).tiny)
        return found

    @contextmanager
    def _read(self, active: bool) -> Iterator[_Products]:
        """Sums of the means of |x dx| by edge, while it is entered."""
        products = _Products(1 + len(self.edges), self._device)
        handles = [self._layer(key).register_forward_pre_hook(products.hook(self._index[key], self._layer(key)))
                   for key in (self._index if active else ())]  # fmt: skip
        try:
            yield products
        finally:
            for handle in handles:
                handle.remove()

    def _layer(self, key: str) -> nn.Module:
        """The layer that a weight is of. Raises: ModelError where what it reads isn't seen."""
        layer = self.net.module.get_submodule(key.rpartition(".")[0])
        if not isinstance(layer, (*CONVOLUTIONS, nn.Linear)) or getattr(layer, "groups", 1) > 1:
            raise ModelError(f"'{key}' is of no plain convolution or linear layer: what it reads, elementwise, isn't "
                             "seen; take another saliency")  # fmt: skip
        return layer

    @property
    def _device(self) -> torch.device:
        return next(iter(self._parameters.values())).device

    def _silence(self, key: str) -> Callable[[Tensor], None]:
        def silence(value: Tensor) -> None:
            if key in self._masks and value.grad is not None:
                self._masks[key] = self._masks[key].to(value.device)  # the network may have moved since
                value.grad.masked_fill_(~self._masks[key], 0.0)

        return silence


def masked(net: Trainable, analysis: Analysis, decided: Decided) -> Columns:
    """Columns that keep what was decided of the model that was analysed, of which the network was made."""
    units = unit_map(analysis, net)
    columns = Columns(net, edges_of(analysis, units, net, alone=True), units)
    columns.keep(columns.edges.kept(decided))
    return columns


class _Products:
    """What layers read while a batch passes, times its gradient: sums of means over samples and positions."""

    def __init__(self, size: int, device: torch.device) -> None:
        self._sums = torch.zeros(size, dtype=torch.float64, device=device)

    def pop(self) -> Tensor:
        """What was added up, and begin anew: [edges]."""
        found = self._sums[1:].clone()
        self._sums.zero_()
        return found

    def hook(self, index: Tensor, layer: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        """For a layer: `index` says which edge each of its input channels is."""
        axis = 1 if isinstance(layer, CONVOLUTIONS) else -1

        def read(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            values = given[0].view_as(given[0])  # whose gradient comes from this layer alone
            if values.requires_grad:
                values.register_hook(  # type: ignore[no-untyped-call]
                    lambda gradient: add((values.detach() * gradient).abs())
                )
            return (values, *given[1:])

        def add(product: Tensor) -> None:
            lines = product.movedim(axis, -1).flatten(0, -2).mean(0, dtype=torch.float64)
            self._sums.index_add_(0, index.flatten(), lines)

        return read


def _shape(gates: Tensor, form: Saliency) -> Tensor:
    if form == "squared":
        return gates.square()
    return gates.abs() if form == "taylor" else 1 / (gates.abs() + EPS)
