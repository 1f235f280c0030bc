"""What is known of a model when its units are judged: its weights, always."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis import Group

Norm = Callable[[NDArray[np.float32]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The model that is judged, and the generator of whatever is drawn."""

    model: ir.Model
    rng: np.random.Generator

    def total(self, group: Group, norm: Norm) -> NDArray[np.float64]:
        """The norms of all that makes a unit, added up: [units].

        Each weight axis that makes the group's channels counts once, as rows [positions, values] from which `norm`
        makes [positions]. A group without producers is judged by all weights that its channels pass.
        """
        scores = np.zeros(group.units.size)
        seen: set[tuple[str, int]] = set()
        for operand in group.producers or tuple(group.operands):
            if (operand.initializer, operand.axis) not in seen:
                seen.add((operand.initializer, operand.axis))
                scores += norm(self._rows(operand.initializer, operand.axis))[operand.indices].sum(axis=1)
        return scores

    def _rows(self, initializer: str, axis: int) -> NDArray[np.float32]:
        value = self.model.graph.initializers[initializer].const_value
        assert value is not None
        lead = np.moveaxis(value.numpy().astype(np.float32, copy=False), axis, 0)
        return lead.reshape(lead.shape[0], -1)
