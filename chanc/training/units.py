"""Where the units of a model's channel groups are in its module: on which axes of which weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chanc.analysis import Analysis, Group
from chanc.analysis.groups import Operand
from chanc.backends.torch.program import Binding
from chanc.ir.initializers import constant_shape
from chanc.training.module import Trainable

Indices = NDArray[np.int64]
Side = Literal["taken", "made"]
SIDES: tuple[Side, Side] = ("taken", "made")


class Site(NamedTuple):
    """A group on one axis of an initializer, which entries of the module hold (several of them each a part).

    side: whether the weight takes the group's channels, or is among what makes them. Position `positions[i]` on the
    axis belongs to the unit with the number `units[i]`: [m] both.
    """

    group: str
    side: Side
    place: tuple[str, int, int]
    entries: tuple[str, ...]
    shape: tuple[int, ...]
    positions: Indices
    units: Indices

    @property
    def axis(self) -> int:
        """The axis of the initializer."""
        return self.place[2]


@dataclass(frozen=True)
class UnitMap:
    """All sites of the groups that may change. `spans` gives each group's units their numbers, from 0 to `count`.

    bindings: of the entries that train, by key. unseen: by group, a weight that takes its channels and that no site
    speaks of, because it doesn't train.
    """

    sites: tuple[Site, ...]
    spans: Mapping[str, slice]
    count: int
    bindings: Mapping[str, Binding]
    unseen: Mapping[str, str]


def unit_map(analysis: Analysis, net: Trainable) -> UnitMap:
    """Find the units of an analysed model in the network that was made of it; a weight used twice is one site."""
    groups = [group for group in analysis.groups if group.resizable]
    ends = np.cumsum([group.units.size for group in groups], dtype=np.int64).tolist()
    spans = {group.id: slice(end - group.units.size, end) for group, end in zip(groups, ends, strict=True)}
    homes = _Homes(net)
    sites = [site for group in groups for site in _sites(analysis, group, spans[group.id].start, homes)]
    unseen = {group.id: operand.initializer for group in groups for operand in group.operands
              if operand.role == "consumer" and not _seen(analysis, operand, homes)}  # fmt: skip
    return UnitMap(tuple(sites), spans, ends[-1] if ends else 0, homes.bindings, unseen)


def _seen(analysis: Analysis, operand: Operand, homes: _Homes) -> bool:
    return operand.initializer in analysis.model.graph.initializers and bool(homes.entries(operand))


def _sites(analysis: Analysis, group: Group, start: int, homes: _Homes) -> Iterator[Site]:
    seen: set[tuple[Side, tuple[str, ...], int]] = set()
    for operand in group.operands:
        entries, side = homes.entries(operand), SIDES[operand.role != "consumer"]
        if not _seen(analysis, operand, homes) or (side, entries, operand.axis) in seen:
            continue
        seen.add((side, entries, operand.axis))
        value = analysis.model.graph.initializers[operand.initializer]
        place, units = (operand.node, operand.input, operand.axis), start + np.arange(group.units.size)
        each = operand.indices.shape[1]
        yield Site(
            group.id, side, place, entries, constant_shape(value), operand.indices.ravel(), np.repeat(units, each)
        )


class _Homes:
    """The entries of a module that train, by the use of the initializer that they hold, or by its name."""

    def __init__(self, net: Trainable) -> None:
        training = {key for key, value in net.module.named_parameters() if value.requires_grad}
        every = net.built.bindings
        self.bindings = {key: binding for key, binding in every.items() if key in training and not binding.constant}
        self._uses: dict[tuple[str, int], list[str]] = defaultdict(list)
        self._names: dict[str, list[str]] = defaultdict(list)
        for key, binding in every.items():
            home = binding.tied or key  # what is tied is one parameter, whoever uses it
            if home in self.bindings:
                for use in binding.uses:
                    self._uses[use].append(home)
                self._names[binding.initializer].append(home)

    def entries(self, operand: Operand) -> tuple[str, ...]:
        """The keys of the entries that hold what an operand uses."""
        found: Sequence[str] = self._uses.get((operand.node, operand.input), ())
        return tuple(dict.fromkeys(found or self._names.get(operand.initializer, ())))
