"""The size of every tensor as a function of the groups' widths, without touching a weight.

A factor of an axis has `fixed` positions that belong to no group, and `positions` of each group on it, which has
`width` channels now: at other widths w it is

    fixed + sum over the groups of positions * w / width

exactly for widths that are multiples of their group's step, and linear in any other kind of number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from chanc.analysis.dims import Dim, Size
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.findings import Findings
from chanc.analysis.groups import Group
from chanc.analysis.layout import Field, Layout
from chanc.analysis.solve import Units, by_axis, moving_axis
from chanc.cost.batch import batch_axes
from chanc.cost.sizes import Declared
from chanc.ir.initializers import constant_shape
from chanc.ops.spec import Number

Widths = Mapping[str, Number]


class Share(NamedTuple):
    """A group on a factor: `positions` at the `width` channels that the group has in the model."""

    group: str
    positions: int
    width: int


class Factor(NamedTuple):
    """A factor of an axis that follows groups."""

    fixed: int
    shares: tuple[Share, ...]

    def at(self, widths: Widths) -> Number:
        """Its size at these widths; a group that is not named keeps its own."""
        total: Number = self.fixed
        for group, positions, width in self.shares:
            new = widths.get(group, width)
            total = total + (positions * new // width if isinstance(new, int) else new * (positions / width))
        return total


Axis = tuple[Size | Factor, ...]


class SizeTable:
    """The axes of all tensors of a solved model as products of factors, each worked out once when it is asked for."""

    def __init__(self, findings: Findings, units: Units, groups: Iterable[Group]) -> None:
        self._layouts = findings.layouts
        self.batch = _batch_atoms(findings.graph)
        """The names under which a dynamic batch stands in sizes."""
        self._unit = units.unit
        self._groups = [group for group in groups if group.resizable]
        self._owner = np.full(units.unit.size, -1, dtype=np.int64)
        for number, group in enumerate(self._groups):
            self._owner[group.units] = number
        self._weights = {
            (node, index, parameter.axis): parameter.labels
            for parameter in findings.parameters
            for node, index in parameter.uses
        }
        self._lines: dict[int, tuple[IntArray, Size | Factor]] = {}
        self._values: dict[ir.Value, tuple[Axis, ...]] = {}
        self._uses: dict[tuple[ir.Node, int], tuple[Axis, ...]] = {}

    def value(self, value: ir.Value) -> tuple[Axis, ...] | None:
        """The axes of an activation; None where the analysis knows no layout of it."""
        layout = self._layouts.get(value)
        if layout is None:
            return None
        if value not in self._values:
            self._values[value] = tuple(self._axis(layout, axis) for axis in range(layout.rank))
        return self._values[value]

    def weight(self, node: ir.Node, index: int, value: ir.Value) -> tuple[Axis, ...]:
        """The axes of an initializer as one node uses it."""
        key = (node, index)
        if key not in self._uses:
            labels = [self._weights.get((node, index, axis)) for axis in range(len(constant_shape(value)))]
            self._uses[key] = tuple(
                (size,) if line is None else (self._line(line),)
                for size, line in zip(constant_shape(value), labels, strict=True)
            )
        return self._uses[key]

    def _line(self, labels: IntArray) -> Size | Factor:
        """A line of labels as a factor; a plain integer where no group is on it."""
        known = self._lines.get(id(labels))
        if known is None:
            known = self._lines[id(labels)] = (labels, self._counted(labels))
        return known[1]

    def _counted(self, labels: IntArray) -> Size | Factor:
        owners, counts = np.unique(self._owner[self._unit[labels]], return_counts=True)
        shares = [
            Share(self._groups[owner].id, count, self._groups[owner].size)
            for owner, count in zip(owners.tolist(), counts.tolist(), strict=True)
            if owner >= 0
        ]
        fixed = int(counts[owners < 0].sum())
        return Factor(fixed, tuple(shares)) if shares else fixed

    def _axis(self, layout: Layout, axis: int) -> Axis:
        factors: list[Size | Factor] = list(layout.axes[axis])
        for part in layout.on(axis):
            found = self._moving(part, axis)
            if found is None:
                continue
            where, labels = found
            factors[where.start] = self._line(labels)
            for k in where[1:]:
                factors[k] = 1
        return tuple(factors)

    def _moving(self, part: Field, axis: int) -> tuple[range, IntArray] | None:
        """The factors of an axis along which a field's channels come and go, and the labels along them."""
        if len(part.slots) == 1:
            factor = part.slots[0][1]
            return range(factor, factor + 1), part.labels
        if len(part.axes) > 1:
            moving = moving_axis(self._unit[by_axis(part)])
            if moving is None or moving < 0 or part.axes[moving] != axis:
                return None
        mine = sorted((slot[1], k) for k, slot in enumerate(part.slots) if slot[0] == axis)
        order = [k for _, k in mine] + [k for k, slot in enumerate(part.slots) if slot[0] != axis]
        labels = part.labels.transpose(order)
        labels = labels.reshape(*labels.shape[: len(mine)], -1)[..., 0]
        along = moving_axis(self._unit[labels]) if labels.ndim > 1 else 0
        if along is not None and along >= 0:
            line = np.moveaxis(labels, along, 0).reshape(labels.shape[along], -1)[:, 0]
            return range(mine[along][0], mine[along][0] + 1), line
        factors = [factor for factor, _ in mine]
        if factors != list(range(factors[0], factors[-1] + 1)):
            return None
        return range(factors[0], factors[-1] + 1), labels.ravel()


class SizesAt:
    """The sizes of a model's tensors at given widths, with a dynamic batch taken as 1 (`chanc.cost.sizes.Sizes`)."""

    def __init__(self, table: SizeTable, declared: Declared, widths: Widths) -> None:
        self.table, self.declared, self.widths = table, declared, widths
        self.batch = declared.batch
        """The samples that the sizes hold."""
        self._known: dict[int, Number] = {}

    def input(self, node: ir.Node, index: int) -> tuple[Number, ...] | None:
        """The size of a node's input, None where it is left out; raises `Unknown`."""
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None:
            return None
        axes = self.table.value(value)
        if axes is None and value.const_value is not None:
            axes = self.table.weight(node, index, value)
        return self.declared.input(node, index) if axes is None else self._size(value, axes)

    def output(self, node: ir.Node, index: int) -> tuple[Number, ...]:
        """The size of a node's output; raises `Unknown`."""
        axes = self.table.value(node.outputs[index])
        return self.declared.output(node, index) if axes is None else self._size(node.outputs[index], axes)

    def _size(self, value: ir.Value, axes: tuple[Axis, ...]) -> tuple[Number, ...]:
        return tuple(self._length(value, k, axis) for k, axis in enumerate(axes))

    def _length(self, value: ir.Value, position: int, axis: Axis) -> Number:
        total: Number = 1
        for factor in axis:
            if isinstance(factor, Factor):
                total = total * self._factor(factor)
            elif isinstance(factor, Dim):
                if not self.table.batch.issuperset(factor.atoms):
                    return self.declared.length(value, position)
                total = total * factor.factor
            else:
                total = total * factor
        return total

    def _factor(self, factor: Factor) -> Number:
        key = id(factor)  # factors live as long as the table
        if key not in self._known:
            self._known[key] = factor.at(self.widths)
        return self._known[key]


def _batch_atoms(graph: ir.Graph) -> frozenset[str]:
    """The names of a dynamic batch axis of the graph's inputs, as layouts have them."""
    found, axes = set(), batch_axes(graph)
    for value in graph.inputs:
        if value.const_value is None and value.shape is not None and len(value.shape) > 1:
            axis = axes.get(value, 0)
            found.add(f"{value.name}.{axis}")
            dim = value.shape[axis]
            if isinstance(dim, ir.SymbolicDim) and dim.value:
                found.add(str(dim.value))
    return frozenset(found)
