"""Resizing initializers: edits from the labels of their axes, new values by the transfer method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.initializers import ParameterAxis
from chanc.ir.initializers import add_constant
from chanc.ir.nodes import called
from chanc.rewriter.axis_maps import Resize, occurrence
from chanc.rewriter.edits import AxisEdit, Part
from chanc.rewriter.plan import Resizing
from chanc.rewriter.trace import TraceOperand
from chanc.rewriter.transfer import Method
from chanc.rewriter.transfer.use import Use

Place = tuple[ir.Node, int, int]
"""A node, one of its inputs, and an axis of it."""


def resize_parameters(
    analysis: Analysis, resize: Resize, chosen: Sequence[Resizing], method: Method, rng: np.random.Generator
) -> tuple[tuple[TraceOperand, ...], dict[Place, IntArray]]:
    """Give every initializer its new values.

    Returns the trace's operands, and for each place that changed its structural source: the old position from which
    each new one descends (for ordered methods the values may come from elsewhere).
    """
    table = _Table(analysis, resize, chosen)
    by_value: dict[ir.Value, list[ParameterAxis]] = defaultdict(list)
    for parameter in analysis.findings.parameters:
        by_value[parameter.value].append(parameter)
    operands: list[TraceOperand] = []
    structure: dict[Place, IntArray] = {}
    for value, parameters in by_value.items():
        for users in _sharing(parameters, table):
            edits = [edit for p in users if (edit := table.edit(p)) is not None]
            for parameter in users:
                source = table.structural(parameter)
                if source is not None:
                    structure.update({(node, index, parameter.axis): source for node, index in parameter.uses})
            if not edits and not method.fresh:
                continue
            uses = list(dict.fromkeys(use for p in users for use in p.uses))
            name = value.name or ""
            _replace(analysis.model.graph, value, uses, edits, method, rng)
            if edits:
                axes = {edit.axis: edit.source for edit in edits}
                operands += [TraceOperand(called(node), index, name, axes) for node, index in uses]
    return tuple(operands), structure


def _sharing(parameters: list[ParameterAxis], table: _Table) -> list[list[ParameterAxis]]:
    """Parameter axes of one initializer that stay one tensor: all axes of a tied one, uses of a vector edited alike."""
    if parameters[0].tied:
        return [parameters]
    by_use: dict[tuple[ir.Node, int], list[ParameterAxis]] = defaultdict(list)
    for parameter in parameters:
        by_use[parameter.uses[0]].append(parameter)
    if len(by_use) == 1:
        return [parameters]
    alike: dict[object, list[ParameterAxis]] = defaultdict(list)
    for use, users in by_use.items():
        edits = [(p.axis, edit.source.tobytes()) for p in users if (edit := table.edit(p)) is not None]
        # A single number that grows along two axes is a matrix from then on: shared, it would tie its uses.
        alike[use if len(edits) > 1 else tuple(edits)] += users
    return list(alike.values())


def _replace(
    graph: ir.Graph,
    value: ir.Value,
    uses: list[tuple[ir.Node, int]],
    edits: list[AxisEdit],
    method: Method,
    rng: np.random.Generator,
) -> None:
    """New values for an initializer as these uses see it; it becomes a tensor of its own where others use it too."""
    old = value.const_value
    assert old is not None
    axes = list({edit.axis: edit for edit in edits}.values())
    node, index = uses[0]
    attribute = node.attributes.get("transB")
    use = Use(node.op_type, index, attribute is not None and bool(attribute.as_int()))
    array = method.apply(old.numpy(), axes, use, rng)
    array = np.asarray(array, order="C")
    if len(uses) == len(value.uses()):
        new = ir.Tensor(array, dtype=old.dtype, name=value.name, doc_string=old.doc_string)
        new.metadata_props.update(old.metadata_props)
        value.const_value = new
        value.shape = ir.Shape(array.shape)
        return
    own = add_constant(graph, f"{value.name}.own", array, value.dtype)
    for node, index in uses:
        node.replace_input_with(index, own)


@dataclass(slots=True)
class _Table:
    """Which group each unit belongs to, its rank there, and where its copies start among the new units."""

    resize: Resize
    chosen: Sequence[Resizing]
    group: IntArray
    rank: IntArray
    start: IntArray
    _edits: dict[int, AxisEdit | None]
    _alike: dict[int, tuple[IntArray, tuple[Part, ...]]]

    def __init__(self, analysis: Analysis, resize: Resize, chosen: Sequence[Resizing]) -> None:
        self.resize, self.chosen, self._edits, self._alike = resize, chosen, {}, {}
        count = analysis.findings.label_count
        self.group = np.full(count, -1, dtype=np.int64)
        self.rank = np.zeros(count, dtype=np.int64)
        self.start = np.zeros(count, dtype=np.int64)
        for k, resizing in enumerate(chosen):
            self.group[resizing.group.units] = k
            self.rank[resizing.group.units] = np.arange(resizing.copies.size)
            self.start[resizing.group.units] = np.cumsum(resizing.copies) - resizing.copies

    def structural(self, parameter: ParameterAxis) -> IntArray | None:
        """For each new position of a parameter's axis the old one; None where the axis stays."""
        if not self.resize.changes(parameter.labels):
            return None
        return self.resize.line(parameter.labels)

    def edit(self, parameter: ParameterAxis) -> AxisEdit | None:
        """The edit of a parameter's axis; None where it stays."""
        key = id(parameter)
        if key not in self._edits:
            self._edits[key] = self._edit(parameter)
        return self._edits[key]

    def _edit(self, parameter: ParameterAxis) -> AxisEdit | None:
        line = self.structural(parameter)
        if line is None:
            return None
        # Scale, shift, mean and variance of a norm have the same labels: what holds for one holds for all.
        key = id(parameter.labels)
        if key not in self._alike:
            self._alike[key] = self._parts(self.resize.unit[parameter.labels], line)
        source, parts = self._alike[key]
        return AxisEdit(parameter.axis, parameter.role, source, parts)

    def _parts(self, units: IntArray, line: IntArray) -> tuple[IntArray, tuple[Part, ...]]:
        """The source of each new position of a line of units, and the parts of the groups on it."""
        group = self.group[units]
        ordinal = self.start[units[line]] + occurrence(line)
        old = dict(_by_group(group, self.rank[units]))
        source = line.copy()
        parts = []
        for k, places in _by_group(group[line], ordinal):
            resizing = self.chosen[k]
            before = old[k].reshape(resizing.copies.size, -1)
            after = places.reshape(resizing.source.size, -1)
            source[after] = before[resizing.source]
            parts.append(Part(before, after, resizing.source))
        return source, tuple(parts)


def _by_group(group: IntArray, rank: IntArray) -> Iterator[tuple[int, IntArray]]:
    """For each group but -1: its positions, ordered by rank and then by place."""
    order = np.lexsort((rank, group))
    ordered = group[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-2))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), ordered.size], strict=True):
        if ordered[start] >= 0:
            yield int(ordered[start]), order[start:end]
