"""Masks of channel groups, on the columns of the weights that read their channels.

    conv(x * m, W) = conv(x, W * diag(m))

A group's mask must act once on each path, at its exit: where an operator mixes channels. Nothing before that matters
then: shifts of norms, activations with f(0) != 0, residual additions. All exits of a maskable group are weights, so
the network is called with W * m in the place of W: nothing is inserted into its graph, and no activation is kept for
it. A concatenation has a segment of columns a group, a flattened image a block of columns a channel.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from chanc.analysis import Analysis, Group
from chanc.backends.torch.program import Binding
from chanc.training.module import Trainable
from chanc.training.units import Indices, Site, UnitMap, unit_map

Slots = Mapping[str, Indices]
"""By group, where in the vector of factors the mask of each of its units stands: [units]."""


class Masks:
    """A network whose maskable groups are masked by the entries of one vector, `factors`.

    Its first entry stands for no mask and is 1. `reasons` tells of each group that may change but can't be masked why.
    """

    def __init__(self, analysis: Analysis, net: Trainable) -> None:
        self.net = net
        self._units = unit_map(analysis, net)
        groups = [group for group in analysis.groups if group.resizable]
        found = {group.id: _why_not(analysis, group, self._units, net) for group in groups}
        self.reasons = {name: why for name, why in found.items() if why}
        self.groups = {group.id: group for group in groups if group.id not in self.reasons}
        self.factors = torch.ones(1)
        self._index = torch.zeros(0, dtype=torch.int64)
        self._places: list[tuple[str, tuple[int, ...]]] = []

    def place(self, slots: Slots, device: torch.device) -> None:
        """Say which entry of the factors masks which unit; groups that aren't named are not masked."""
        lines = list(_lines(self._units, slots))
        self._places = [(key, line.shape) for key, line in lines]
        flat = [np.empty(0, dtype=np.int64), *(line.ravel() for _, line in lines)]
        self._index = torch.from_numpy(np.concatenate(flat)).to(device)

    def weights(self) -> dict[str, Tensor]:
        """The masked weights, by their keys in the module."""
        own = dict(self.net.module.named_parameters(remove_duplicate=False))
        found: dict[str, Tensor] = {}
        parts = torch.split(self.factors[self._index], [math.prod(shape) for _, shape in self._places])
        for (key, shape), part in zip(self._places, parts, strict=True):
            found[key] = found.get(key, own[key]) * part.view(shape)
        return found

    def run(self, *inputs: Tensor) -> Tensor | tuple[Tensor | None, ...]:
        """What the module makes of a batch with masked weights; its statistics go on as in any call."""
        result: Tensor | tuple[Tensor | None, ...] = functional_call(self.net.module, self.weights(), inputs)
        return result


def _why_not(analysis: Analysis, group: Group, units: UnitMap, net: Trainable) -> str:
    """Why a group can't be masked at its exits; '' where it can."""
    if group.inexact:
        return f"masking is no removal there: {group.inexact}"
    own = np.unique(group.units)
    for found in analysis.findings.sums:
        if np.isin(analysis.units.unit[found.labels], own).any():
            return found.reason
    if group.id in units.unseen:
        return f"'{units.unseen[group.id]}', which reads it, is no weight that trains"
    taken = [site for site in units.sites if site.group == group.id and site.side == "taken"]
    if not taken:
        return "no weight reads it"
    keys = [key for site in taken for key in site.entries]
    recurrent = [key for key in keys if isinstance(net.module.get_submodule(key.rpartition(".")[0]), nn.RNNBase)]
    return f"'{recurrent[0]}', which reads it, is a recurrent layer's" if recurrent else ""


def _lines(units: UnitMap, slots: Slots) -> Iterator[tuple[str, Indices]]:
    """For each axis of a parameter on which groups are masked the factors' places, so that they broadcast to it."""
    taken: dict[tuple[tuple[str, ...], int], list[Site]] = defaultdict(list)
    for site in units.sites:
        if site.side == "taken" and site.group in slots:
            taken[site.entries, site.axis].append(site)
    for (entries, axis), sites in taken.items():
        shape = sites[0].shape
        line = np.zeros(shape[axis], dtype=np.int64)
        for site in sites:
            line[site.positions] = slots[site.group][site.units - units.spans[site.group].start]
        for key in entries:
            yield key, in_entry(units.bindings[key], line, shape, axis)


def in_entry(binding: Binding, line: Indices, shape: tuple[int, ...], axis: int) -> NDArray[np.int64]:
    """A line along an axis of an initializer of that shape, as its entry in the module has it, other axes of size 1."""
    spread = np.broadcast_to(line.reshape([-1 if k == axis else 1 for k in range(len(shape))]), shape)
    found = binding.to_tensor(spread)
    for k in range(found.ndim):
        first = found.take([0], axis=k)
        found = first if (found == first).all() else found
    return np.ascontiguousarray(found)
