"""What is known of a model when its units are judged: its weights, always; what data showed, where they were asked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis import Group
from chanc.analysis.groups import Operand
from chanc.errors import PlanError
from chanc.ir.external import release_pages
from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import called, nodes_of
from chanc.ops import Trait, has, reader, weight_of
from chanc.rewriter.importance.gathered import Gathered, Moments

T = TypeVar("T")
Rows = NDArray[np.float32]
Norm = Callable[[Rows], NDArray[np.float64]]
NO_DATA = "this importance needs data to judge by: add --data NAME, or evidence=chanc.gather(model, NAME)"


@dataclass(frozen=True)
class Evidence:
    """The model that is judged, the generator of whatever is drawn, and what data showed of the model, if any did."""

    model: ir.Model
    rng: np.random.Generator
    gathered: Gathered | None = None

    def total(self, group: Group, norm: Norm) -> NDArray[np.float64]:
        """The norms of all that makes a unit, added up: [units].

        Each weight axis that makes the group's channels counts once, as rows [positions, values] from which `norm`
        makes [positions]. A group without producers is judged by all weights that its channels pass.
        """
        scores = np.zeros(group.units.size)
        for operand in distinct(group.producers or tuple(group.operands)):
            scores += norm(self._rows(operand))[operand.indices].sum(axis=1)
            release_pages(self._tensor(operand))
        return scores

    def magnitude(self, group: Group) -> NDArray[np.float64]:
        """The squares of all that makes a unit, added up: [units]; what stands in where nothing better is known."""
        return self.total(group, lambda rows: np.einsum("ij,ij->i", rows, rows).astype(np.float64))

    def makers(self, group: Group) -> Iterator[Rows]:
        """All trained weights that make a unit, its biases and norms too: [units, values] each.

        Running statistics and quantisers are none. Of a group without any, all weights that its channels pass.
        """
        makers = [o for o in group.operands if o.role == "producer" or (o.role == "follower" and self._weight(o))]
        for operand in distinct(makers or group.operands):
            yield self._units(operand)

    def scales(self, group: Group) -> Iterator[Rows]:
        """The scales of the normalisations that a unit passes: [units, values] each."""
        followers = (operand for operand in group.operands if operand.role == "follower")
        norms = (operand for operand in followers if has(self._nodes.get(operand.node), Trait.NORM))
        for operand in distinct(operand for operand in norms if self._weight(operand, init=1.0)):
            yield self._units(operand)

    def effect(self, group: Group) -> Moments | None:
        """What removing units does to the loss (`Gathered.effect`); None where nothing of the group trains.

        Raises: PlanError without data, or with those of another model.
        """
        return _fitting(group, self.seen.effect(group.id), lambda found: found.absolute.size)

    def norms(self, group: Group) -> NDArray[np.float64] | None:
        """The sizes of a unit's values (`Gathered.norms`); None where no layer reads the group. Raises as `effect`."""
        return _fitting(group, self.seen.norms.get(group.id), lambda found: found.size)

    @property
    def seen(self) -> Gathered:
        """What data showed. Raises: PlanError where none were asked."""
        if self.gathered is None:
            raise PlanError(NO_DATA)
        return self.gathered

    @functools.cached_property
    def _nodes(self) -> dict[str, ir.Node]:
        return {called(node): node for node in nodes_of(self.model.graph)}

    def _weight(self, operand: Operand, init: float | None = None) -> bool:
        """Whether an operand is a weight that is trained, and begins as `init`."""
        node = self._nodes.get(operand.node)
        if node is None:
            return False
        rank = len(constant_shape(self.model.graph.initializers[operand.initializer]))
        read = reader(node, operand.input, rank, Trait.RECAST, Trait.VIEW)
        weight = weight_of(read.node, read.input)
        return weight is not None and not weight.statistic and init in (None, weight.init)

    def _units(self, operand: Operand) -> Rows:
        """The values of each unit on an operand's axis, a copy: [units, values]."""
        units = self._rows(operand)[operand.indices].reshape(len(operand.indices), -1)
        release_pages(self._tensor(operand))
        return units

    def _rows(self, operand: Operand) -> Rows:
        """The values along an operand's axis: [positions, values]."""
        lead = self._tensor(operand).numpy().astype(np.float32, copy=False)
        if operand.axis:
            lead = np.moveaxis(lead, operand.axis, 0)
        return lead.reshape(lead.shape[0], -1)

    def _tensor(self, operand: Operand) -> ir.TensorProtocol:
        tensor = self.model.graph.initializers[operand.initializer].const_value
        assert tensor is not None
        return tensor


def distinct(operands: Iterable[Operand]) -> Iterator[Operand]:
    """Each weight axis once, however many nodes use it."""
    seen: set[tuple[str, int]] = set()
    for operand in operands:
        if (operand.initializer, operand.axis) not in seen:
            seen.add((operand.initializer, operand.axis))
            yield operand


def _fitting(group: Group, found: T | None, units: Callable[[T], int]) -> T | None:
    if found is not None and units(found) != group.units.size:
        raise PlanError(f"group '{group.id}': the evidence is of another model, of {units(found)} units")
    return found
