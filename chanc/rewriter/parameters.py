"""Resizing initializers: edits from the labels of their axes, new values by the transfer method."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis import Analysis
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.initializers import ParameterAxis
from chanc.ir.dtypes import FLOATS
from chanc.ir.external import release_pages
from chanc.ir.initializers import add_constant, constant_shape, frozen_shape
from chanc.ir.names import Names
from chanc.ir.nodes import called, subgraphs
from chanc.rewriter.axis_maps import Resize, occurrence
from chanc.rewriter.edits import AxisEdit, Gone, Part
from chanc.rewriter.fresh import Fresh
from chanc.rewriter.later import later, waits
from chanc.rewriter.plan import Resizing
from chanc.rewriter.trace import TraceOperand
from chanc.rewriter.transfer import Method
from chanc.rewriter.transfer._common import KEPT, Tensor, Use
from chanc.rewriter.zero import stored_zero

Place = tuple[ir.Node, int, int]
"""A node, one of its inputs, and an axis of it."""


def resize_parameters(
    analysis: Analysis,
    resize: Resize,
    chosen: Sequence[Resizing],
    method: Method,
    rng: np.random.Generator,
    names: Names,
) -> tuple[tuple[TraceOperand, ...], dict[Place, IntArray]]:
    """Give every initializer its new values.

    Returns the trace's operands, and for each place that changed its structural source: the old position from which
    each new one descends (for ordered methods the values may come from elsewhere).
    """
    fresh = Fresh(analysis) if method.fresh or (method.draws and resize.grows) else None
    table = _Table(analysis, resize, chosen, fresh)
    by_value: dict[ir.Value, list[ParameterAxis]] = defaultdict(list)
    for parameter in analysis.findings.parameters:
        by_value[parameter.value].append(parameter)
    # Zero points are resized as well: they are read before anything is.
    zeros = {
        value: stored_zero(constant_shape(value), *parameters[0].uses[0], _stored)
        for value, parameters in by_value.items()
        if value.dtype not in FLOATS
    }
    operands: list[TraceOperand] = []
    structure: dict[Place, IntArray] = {}
    for value, parameters in by_value.items():
        readers = len(value.uses())  # counted once: the answer is a copy, as long as there are readers
        for users in _sharing(parameters, table, fresh):
            edited = [(p, edit) for p in users if (edit := table.edit(p)) is not None]
            for parameter, _ in edited:
                source = table.structural(parameter)
                if source is not None:
                    structure.update({(node, index, parameter.axis): source for node, index in parameter.uses})
            if not edited and not method.fresh:
                continue
            uses = list(dict.fromkeys(use for p in users for use in p.uses))
            name = value.name or ""
            use = fresh.use(value, *uses[0], users) if fresh is not None else KEPT
            distinct = list({edit.axis: edit for _, edit in edited}.values())
            use = use._replace(zero=zeros.get(value))
            read = value.const_value
            make = _making(method, distinct, use, rng)
            if read is not None and len(uses) == readers and waits(read, distinct, method):
                value.const_value = later(read, distinct, make)
                value.shape = value.const_value.shape
            else:
                array = make(_array(value))
                readers = give(analysis.model.graph, names, value, uses, array, readers)
                release_pages(read)
            if edited:
                axes = {edit.axis: edit.source for _, edit in edited}
                groups = {p.axis: table.groups(p) for p, _ in edited}
                operands += [TraceOperand(called(node), index, name, axes, groups) for node, index in uses]
    if fresh is not None and method.fresh:
        seen = {use for parameter in analysis.findings.parameters for use in parameter.uses}
        _draw_others(analysis.model.graph, names, fresh, seen, method, rng)
    return tuple(operands), structure


def _making(
    method: Method, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator
) -> Callable[[Tensor], Tensor]:
    """What makes a tensor's new values of its old ones; where units are repeated, later and the same each time."""
    if method.fresh or not any(edit.repeats for edit in edits):
        return lambda tensor: method.apply(tensor, edits, use, rng)
    (own,) = rng.spawn(1)
    return lambda tensor: method.apply(tensor, edits, use, copy.deepcopy(own))


def _draw_others(
    graph: ir.Graph,
    names: Names,
    fresh: Fresh,
    seen: set[tuple[ir.Node, int]],
    method: Method,
    rng: np.random.Generator,
) -> None:
    """New values for the weights without channels of their own: those of a layer that isn't understood, single ones."""
    for owner in (graph, *subgraphs(graph)):
        for value in list(owner.initializers.values()):
            readers = value.uses()
            uses = [(user, index) for user, index in readers if (user, index) not in seen]
            if not uses or value.const_value is None:
                continue
            use = fresh.use(value, *uses[0])
            if use.fill is not None:
                give(owner, names, value, uses, method.apply(_array(value), (), use, rng), len(readers))


def _sharing(parameters: list[ParameterAxis], table: _Table, fresh: Fresh | None) -> list[list[ParameterAxis]]:
    """Parameter axes of one initializer that stay one tensor: all axes of a tied one, uses of a vector edited alike.

    Where weights are drawn anew, uses of a vector part that begin with other values.
    """
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
        fill = fresh.use(users[0].value, *use, users).fill if fresh is not None else None
        # A single number that grows along two axes is a matrix from then on: shared, it would tie its uses.
        alike[use if len(edits) > 1 else (fill, *edits)] += users
    return list(alike.values())


def give(
    graph: ir.Graph,
    names: Names,
    value: ir.Value,
    uses: Sequence[tuple[ir.Node, int]],
    array: Tensor,
    readers: int,
) -> int:
    """New values for an initializer as these uses of it see it; says how many of its `readers` it has left.

    It becomes a tensor of its own where others use it too. What is as before stays as it is.
    """
    old = value.const_value
    assert old is not None
    if array.shape == constant_shape(value) and array.tobytes() == _array(value).tobytes():
        return readers
    array = np.asarray(array, order="C")
    if len(uses) == readers:
        shape = frozen_shape(array.shape)
        new = ir.Tensor(array, dtype=old.dtype, shape=shape, name=value.name, doc_string=old.doc_string)
        if old.metadata_props:
            new.metadata_props.update(old.metadata_props)
        value.const_value = new
        value.shape = shape
        return readers
    own = add_constant(graph, names.fresh(f"{value.name}.own"), array, value.dtype)
    for node, index in uses:
        node.replace_input_with(index, own)
    return readers - len(uses)


def _stored(value: ir.Value) -> Tensor | None:
    return None if value.const_value is None else value.const_value.numpy()


def _array(value: ir.Value) -> Tensor:
    assert value.const_value is not None
    return value.const_value.numpy()


@dataclass(slots=True)
class _Table:
    """Which group each unit belongs to, its rank there, where its copies start, whether the group is reordered, and
    whether what is left of it takes other values than its own; whether that is so of any group (`moves`)."""

    resize: Resize
    chosen: Sequence[Resizing]
    fresh: Fresh | None
    group: IntArray
    rank: IntArray
    start: IntArray
    permuted: NDArray[np.bool_]
    moved: NDArray[np.bool_]
    moves: bool
    _edits: dict[int, AxisEdit | None]
    _alike: dict[int, tuple[IntArray, Sequence[Part], tuple[str, ...]]]

    def __init__(self, analysis: Analysis, resize: Resize, chosen: Sequence[Resizing], fresh: Fresh | None) -> None:
        self.resize, self.chosen, self.fresh, self._edits, self._alike = resize, chosen, fresh, {}, {}
        count = analysis.findings.label_count
        self.group = np.full(count, -1, dtype=np.int64)
        self.rank = np.zeros(count, dtype=np.int64)
        self.start = np.zeros(count, dtype=np.int64)
        self.permuted = np.zeros(count, dtype=bool)
        self.moved = np.zeros(count, dtype=bool)
        for k, resizing in enumerate(chosen):
            self.group[resizing.group.units] = k
            self.rank[resizing.group.units] = np.arange(resizing.copies.size)
            self.start[resizing.group.units] = np.cumsum(resizing.copies) - resizing.copies
            if resizing.permuted:
                self.permuted[resizing.group.units] = True
            if not np.array_equal(resizing.source, np.flatnonzero(resizing.copies)):
                self.moved[resizing.group.units] = True
        self.moves = bool(self.moved.any())

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
        if line is None and self.moves and self.permuted[self.resize.unit[parameter.labels]].any():
            line = np.arange(parameter.labels.size)
        if line is None:
            return None
        # Scale, shift, mean and variance of a norm have the same labels: what holds for one holds for all.
        key = id(parameter.labels)
        if key not in self._alike:
            self._alike[key] = self._line(self.resize.unit[parameter.labels], line)
        source, parts, _ = self._alike[key]
        return AxisEdit(parameter.axis, parameter.role, source, parts)

    def groups(self, parameter: ParameterAxis) -> tuple[str, ...]:
        """The ids of the groups on a parameter's axis, which has an edit."""
        return self._alike[id(parameter.labels)][2]

    def _line(self, units: IntArray, line: IntArray) -> tuple[IntArray, Sequence[Part], tuple[str, ...]]:
        """The source of each new position of a line of units; the parts of the groups on it, and their ids."""
        if self.resize.grows or (self.moves and self.moved[units].any()):
            source, parts = self._parts(units, line)
            return source, parts, tuple(part.group for part in parts)
        there = np.flatnonzero(np.bincount(self.group[units[line]] + 1)[1:]).tolist()  # in order, without the -1
        names = tuple([self.chosen[k].group.id for k in there])
        # Where units only go, each place left keeps its values.
        return line, Gone(lambda: self._parts(units, line)[1]), names

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
            drawable = self.fresh is None or self.fresh.defined(resizing.group.units)
            parts.append(Part(before, after, resizing.source, resizing.group.divisible, resizing.group.id, drawable))
        return source, tuple(parts)


def _by_group(group: IntArray, rank: IntArray) -> Iterator[tuple[int, IntArray]]:
    """For each group but -1: its positions, ordered by rank and then by place."""
    order = np.lexsort((rank, group))
    ordered = group[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-2))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), ordered.size], strict=True):
        if ordered[start] >= 0:
            yield int(ordered[start]), order[start:end]
