"""The sweep: one pass over the nodes that executes every operator on axis layouts.

It keeps, for each value, a layout (where its channels are) and, for small integer tensors, the content (so that
Shape -> Gather -> Concat -> Reshape chains are read through). Rules report here what they find: labels that are one
channel (`same`), labels that must go together (`couple`), labels that must stay (`pin`). Nothing is decided yet:
`chanc.analysis.solve` does that when the sweep is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis.dims import Size, unknown
from chanc.analysis.disjoint_set import DisjointSet, IntArray
from chanc.analysis.layout import (
    Factors,
    Field,
    Layout,
    Opaque,
    Slot,
    axis_labels,
    common_factors,
    factors_of,
    insert_axes,
    merge,
    plain,
    refactor,
    regrouped,
    reshape,
    without,
)
from chanc.ir.initializers import constant_shape
from chanc.ir.nodes import called

Role = Literal["producer", "consumer", "follower"]
Array = NDArray[np.generic]

DATA_LIMIT = 1 << 20
CUTTERS = ("Gather", "Slice", "Split")
ADDITIVE = ("Add", "Concat", "Mean", "Sub", "Sum", "Where")
CURVED = (
    "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "Log", "Max", "Min", "Pow", "QuantizeLinear",
    "Reciprocal", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softmax", "Sqrt", "Tanh",
)  # fmt: skip
"""What a weight must not pass before it is divided among the copies of a channel: f(w / 2) is not f(w) / 2."""
FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
CHANNEL_TYPES = {*FLOATS, ir.DataType.INT8, ir.DataType.UINT8}


@dataclass(frozen=True, slots=True)
class Pin:
    """Why labels must stay: the tensor and node at which they meet something that can't change."""

    tensor: str
    node: str
    op: str
    reason: str


@dataclass(slots=True)
class ParameterAxis:
    """One axis of an initializer with labels, as one or more nodes use it."""

    value: ir.Value
    axis: int
    labels: IntArray
    uses: list[tuple[ir.Node, int]]
    tied: bool
    role: Role = "follower"


class Constant(NamedTuple):
    """What a sweep asks of an initializer again and again.

    channels: its type may be that of channels; tied: all its uses are one; shown: it is a graph output; once: one use.
    """

    shape: tuple[int, ...]
    channels: bool
    tied: bool
    shown: bool
    once: bool


@dataclass(slots=True)
class Sweep:
    """What is known of a graph while its nodes are visited in order, and what the rules found."""

    graph: ir.Graph
    opset: int
    layouts: dict[ir.Value, Layout] = field(default_factory=dict)
    data: dict[ir.Value, Array] = field(default_factory=dict)
    sequences: dict[ir.Value, tuple[Layout, ...]] = field(default_factory=dict)
    parameters: list[ParameterAxis] = field(default_factory=list)
    channels: DisjointSet = field(default_factory=DisjointSet)
    couplings: DisjointSet = field(default_factory=DisjointSet)
    pins: list[tuple[IntArray, Pin]] = field(default_factory=list)
    inexact: list[tuple[IntArray, str]] = field(default_factory=list)
    unscaled: list[IntArray] = field(default_factory=list)
    segments: list[IntArray] = field(default_factory=list)
    opaque: dict[ir.Node, str] = field(default_factory=dict)
    seams: list[tuple[int, int]] = field(default_factory=list)
    views: list[tuple[Layout, Slot | None]] = field(default_factory=list)
    rows: list[tuple[IntArray, Pin]] = field(default_factory=list)
    modes: dict[object, str] = field(default_factory=dict)
    weights: set[ir.Value] = field(default_factory=set)
    bent: set[ir.Value] = field(default_factory=set)
    held: dict[ir.Value, str] = field(default_factory=dict)
    label_count: int = 0
    node: ir.Node | None = None
    inputs: Sequence[ir.Value | None] = ()
    attributes: Mapping[str, ir.Attr] = field(default_factory=dict)
    visit_body: Callable[[ir.Graph], None] | None = None
    _read: set[ir.Value] = field(default_factory=set)
    _known: dict[tuple[object, ...], ParameterAxis] = field(default_factory=dict)
    _own: list[ParameterAxis] = field(default_factory=list)
    _constants: dict[ir.Value, Constant] = field(default_factory=dict)
    _roles: list[tuple[IntArray, Role]] = field(default_factory=list)
    _parallel: list[tuple[IntArray, IntArray]] = field(default_factory=list)
    _lines: dict[tuple[int, int], list[IntArray]] = field(default_factory=dict)

    def enter(self, node: ir.Node) -> None:
        """Make a node the current one."""
        self.node = node
        # Read once: rules ask for them again and again, and the properties of a node make new views each time.
        self.inputs = node.inputs
        self.attributes = node.attributes.data
        self._read.clear()

    # Values

    def layout(self, value: ir.Value) -> Layout:
        """The layout of an activation; an initializer gets labels on every axis longer than 1."""
        self._read.add(value)
        found = self.layouts.get(value)
        if found is not None:
            return found
        if value.const_value is not None:
            index = self._input_index(value)
            return self.parameter(index, [k for k, n in enumerate(self.initializer(value).shape) if n > 1])
        raise Opaque(f"the shape of '{value.name}' is not known")

    def input(self, index: int) -> Layout:
        """The layout of the current node's input."""
        value = self.value(index)
        if value is None:
            raise Opaque(f"input {index} is missing")
        self._read.add(value)
        found = self.layouts.get(value)
        if found is not None:
            return found
        if value.const_value is not None:
            return self.parameter(index, [k for k, n in enumerate(self.initializer(value).shape) if n > 1])
        raise Opaque(f"the shape of '{value.name}' is not known")

    def value(self, index: int) -> ir.Value | None:
        """The current node's input, or None where it is left out."""
        inputs = self.inputs
        return inputs[index] if index < len(inputs) else None

    def is_parameter(self, index: int) -> bool:
        """Whether an input of the current node is an initializer whose axes can be labelled."""
        value = self.value(index)
        return value is not None and value.const_value is not None and value not in self.layouts

    def is_weight(self, index: int) -> bool:
        """Whether an input of the current node is an initializer, or computed from initializers alone."""
        value = self.value(index)
        return value is not None and (value in self.weights or self.is_parameter(index))

    def mode(self, default: str) -> str:
        """How the current node is read where sizes alone would decide; a second sweep reads it as the first did."""
        assert self.node is not None
        return self.modes.setdefault(self.node, default)

    def parameter(self, index: int, axes: Iterable[int], integers: bool = False) -> Layout:
        """The layout of an initializer input, with labels on the axes named and none on others.

        The labels of a vector belong to this one use (exporters let equal vectors share a tensor: they part when they
        must); those of a matrix or kernel, or of a vector that is cut up (biases of gates), belong to the tensor, so
        tied weights stay tied. Wide integers are indices and get no labels, unless `integers` says that these are
        quantised values.
        """
        value = self.value(index)
        assert value is not None and self.node is not None
        constant = self.initializer(value)
        shape = constant.shape
        layout: list[Factors] = [factors_of(n) for n in shape]
        if not constant.channels and not integers:
            return Layout(tuple(layout), (), f"constant '{value.name}' of type {value.dtype}")
        tied = constant.tied
        fields = []
        for axis in axes:
            layout[axis] = (shape[axis],)
            fields.append(Field(((axis, 0),), self._parameter_axis(value, axis, shape[axis], index, tied)))
        return Layout(tuple(layout), tuple(fields), f"constant '{value.name}'")

    def initializer(self, value: ir.Value) -> Constant:
        """Shape and kind of an initializer."""
        found = self._constants.get(value)
        if found is None:
            shape = constant_shape(value)
            users = value.uses()
            shown = value.is_graph_output()
            tied = shown or len(shape) - shape.count(1) > 1 or any(user.op_type in CUTTERS for user, _ in users)
            found = Constant(shape, value.dtype in CHANNEL_TYPES, tied, shown, len(users) == 1)
            self._constants[value] = found
        return found

    def adopt(self, index: int, axis: int, labels: IntArray, role: Role = "follower") -> bool:
        """Let an axis of a vector, or of a matrix or kernel used once, take the labels that it meets: [its size].

        The same as `parameter` and `same`, without labels or unions of its own; False where it must have its own.
        """
        node, value = self.node, self.inputs[index]
        assert value is not None and node is not None
        constant = self._constants.get(value) or self.initializer(value)
        if constant.shown or not constant.channels or constant.shape[axis] != labels.size:
            return False
        # Weights that are computed from weights pass their roles on by labels of their own.
        if (constant.tied and not constant.once) or (self.weights and node.outputs[0] in self.weights):
            return False
        key: tuple[object, ...] = (value, axis) if constant.tied else (value, axis, node, index)
        if key in self._known:
            return False
        parameter = ParameterAxis(value, axis, labels, [(node, index)], constant.tied, role)
        self._known[key] = parameter
        self.parameters.append(parameter)
        return True

    def unneeded(self, index: int) -> None:
        """The current node takes nothing of an input's channels: it may be of any width."""
        if (value := self.value(index)) is not None:
            self._read.add(value)

    def settle_unread(self) -> None:
        """Pin the channels of inputs that the rule of the current node took no notice of: scales made by a Concat."""
        assert self.node is not None
        for value in self.inputs:
            layout = self.layouts.get(value) if value is not None and value not in self._read else None
            for part in layout.fields if layout is not None else ():
                self.pin(part.labels, f"{self.node.op_type} takes it as it is")

    def labelled(self, node: ir.Node, index: int, value: ir.Value) -> Layout | None:
        """The layout of an initializer as a node that was visited saw it; None where it had no labels."""
        shape = constant_shape(value)
        axes: list[Factors] = [factors_of(n) for n in shape]
        fields = []
        for axis, size in enumerate(shape):
            known = self._known.get((value, axis)) or self._known.get((value, axis, node, index))
            if known is not None and (node, index) in known.uses:
                axes[axis] = (size,)
                fields.append(Field(((axis, 0),), known.labels))
        return Layout(tuple(axes), tuple(fields)) if fields else None

    def _parameter_axis(self, value: ir.Value, axis: int, size: int, index: int, tied: bool) -> IntArray:
        assert self.node is not None
        key: tuple[object, ...] = (value, axis) if tied else (value, axis, self.node, index)
        known = self._known.get(key)
        if known is None:
            known = ParameterAxis(value, axis, self.fresh(size), [], tied)
            self._known[key] = known
            self._own.append(known)
            self.parameters.append(known)
            if self._constants[value].shown:
                self.pin(known.labels, "it is a graph output")
        if (self.node, index) not in known.uses:
            known.uses.append((self.node, index))
        return known.labels

    def constant(self, index: int) -> Array | None:
        """The content of an input where it is known: an initializer, or a small tensor that was read through."""
        value = self.value(index)
        if value is None:
            return None
        known = self.data.get(value)
        if known is None and value.const_value is not None:
            known = value.const_value.numpy()
        return known

    def integers(self, index: int) -> list[int] | None:
        """The content of an integer input as Python integers, or None where it is left out; Opaque where unknown."""
        if self.value(index) is None:
            return None
        known = self.constant(index)
        if known is None or any(not isinstance(n, int) for n in known.ravel().tolist()):
            value = self.value(index)
            raise Opaque(f"'{value.name if value else ''}' is computed while the model runs")
        return [int(n) for n in known.ravel().tolist()]

    def attribute(self, name: str, default: object = None) -> object:
        """An attribute of the current node."""
        found = self.attributes.get(name)
        return default if found is None else found.value

    def integer(self, name: str, default: int) -> int:
        """An integer attribute of the current node."""
        found = self.attribute(name, default)
        assert isinstance(found, int)
        return found

    def integer_list(self, name: str, default: Sequence[int] | None = None) -> list[int] | None:
        """A list attribute of the current node, or the default."""
        found = self.attribute(name)
        if found is None:
            return None if default is None else list(default)
        assert isinstance(found, (list, tuple))
        return list(found)

    def output(self, layout: Layout, index: int = 0) -> None:
        """Set the layout of an output of the current node."""
        assert self.node is not None
        self.layouts[self.node.outputs[index]] = layout

    def fields_of(self, value: ir.Value) -> tuple[Field, ...]:
        """The fields of a tensor, or of all tensors of a sequence."""
        layouts = (*self.sequences.get(value, ()), *([self.layouts[value]] if value in self.layouts else []))
        return tuple(field for layout in layouts for field in layout.fields)

    # Findings

    def fresh(self, size: int) -> IntArray:
        """New labels: [size]."""
        start = self.label_count
        self.label_count += size
        return np.arange(start, start + size, dtype=np.int64)

    def same(self, left: IntArray, right: IntArray) -> None:
        """Left[i] and right[i] are one channel."""
        self.channels.unite(left, right)

    def couple(self, left: IntArray, right: IntArray) -> None:
        """Left[i] and right[i] are different channels that can only go together."""
        self.couplings.unite(left, right)

    def pin(self, labels: IntArray, reason: str, tensor: str = "") -> None:
        """These labels must stay."""
        self.pins.append((labels.ravel(), self._here(reason, tensor)))

    def _here(self, reason: str, tensor: str = "") -> Pin:
        node = self.node
        name = called(node) if node is not None else ""
        return Pin(tensor or name, name, node.op_type if node is not None else "", reason)

    def row(self, labels: IntArray, reason: str) -> None:
        """A row of an axis [rows, columns] whose rows are alike: no unit may reach from the end of one to the next."""
        if labels.size > 1:
            self.rows.append((labels, self._here(reason)))

    def reshaped(self, layout: Layout, target: Sequence[Size]) -> Layout:
        """The layout seen through a row-major reshape; it is noted how that cuts the axes it had into factors."""
        result = reshape(layout, target)
        if layout.fields:
            self.views.append((regrouped(result, layout.sizes), None))
        return result

    def seam(self, layout: Layout, axis: int, places: Iterable[int]) -> None:
        """The positions of a merged axis at which what was put together begins anew."""
        for part in layout.on(axis):
            labels = axis_labels(part, axis)[:, 0]
            self.seams += [(int(labels[k - 1]), int(labels[k])) for k in places]

    def cut(self, labels: IntArray, rows: int, moving: int) -> None:
        """The labels of an axis are used as [rows, columns], of which whole rows (`moving` 0) or columns (1) go."""
        if labels.size > 1:
            grid = labels.reshape(rows, -1)
            part = Field(((0, 0), (0, 1)), grid)
            self.views.append((Layout((grid.shape,), (part,)), (0, moving)))

    def beside(self, *lines: IntArray) -> None:
        """Labels [n, ...] of which the same ones go: copies stand in one order on all of them."""
        grid = np.concatenate([line.reshape(line.shape[0], -1) for line in lines], axis=1)
        if grid.shape[0] > 1:
            self.views.append((Layout(((grid.shape[0],), (grid.shape[1],)), (Field(((0, 0), (1, 0)), grid),)), (0, 0)))

    def hold(self, value: ir.Value, reason: str) -> None:
        """An initializer that must keep its shape wherever else it is used: it enters what is not understood."""
        self.held[value] = reason

    def mark_inexact(self, labels: IntArray, reason: str) -> None:
        """Removing these labels changes the function of the rest (a normalisation across channels)."""
        self.inexact.append((labels.ravel(), reason))

    def mark(self, layout: Layout, axis: int, role: Role) -> None:
        """The parameters that label this axis are producers or consumers of their channels."""
        bent = bool(self.bent) and any(value in self.bent for value in self.inputs)
        for part in layout.on(axis):
            self._roles.append((part.labels, role))
            if bent and role == "consumer":
                self.unscaled.append(part.labels.ravel())

    def segment(self, layout: Layout, axis: int) -> None:
        """A part of an axis that must not vanish: its channels form groups of their own."""
        for part in layout.on(axis):
            self.segments.append(part.labels.ravel())

    def assign_roles(self) -> None:
        """Hand the roles that were marked to the parameter axes from which the labels came."""
        homes = {id(p.labels): p for p in self._own}
        starts = np.array([p.labels[0] if p.labels.size else -1 for p in self._own], dtype=np.int64)
        for labels, role in self._spread_roles():
            home = homes.get(id(labels))
            for parameter in [home] if home is not None else self._homes(starts, labels):
                if {parameter.role, role} == {"producer", "consumer"}:
                    # Tied: what makes a copy would have to be cloned and divided at once.
                    self.unscaled.append(parameter.labels)
                parameter.role = role
        for parameter in self.parameters:
            if parameter.role == "consumer" and parameter.value.dtype not in FLOATS:
                # Integers can't be divided among the copies of a channel.
                self.unscaled.append(parameter.labels)

    def _homes(self, starts: IntArray, labels: IntArray) -> list[ParameterAxis]:
        """The parameter axes whose own labels are among these; `starts` are the first labels of all, ascending."""
        if not starts.size or not labels.size:
            return []
        found = np.unique(np.searchsorted(starts, labels.ravel(), side="right") - 1)
        parameters = [self._own[k] for k in found.tolist() if k >= 0]
        low, high = labels.min(), labels.max()
        return [p for p in parameters if p.labels.size and p.labels[0] <= high and low <= p.labels[-1]]

    def _spread_roles(self) -> list[tuple[IntArray, Role]]:
        """The roles that were marked, and those that they give to weights joined with, or added to, the marked ones."""
        roles = list(self._roles)
        for left, right in reversed(self._parallel):
            for labels, role in list(roles):
                hit = np.isin(left, labels)
                if hit.any():
                    roles.append((right[hit], role))
        return roles

    # What rules do to layouts

    def fix(self, layout: Layout, axis: int, reason: str) -> Layout:
        """The layout with an axis that keeps its size: what varies along it goes together, or stays."""
        if not layout.on(axis):
            return layout
        fields = []
        for part in layout.fields:
            kept = [k for k, slot in enumerate(part.slots) if slot[0] != axis]
            if len(kept) == len(part.slots):
                fields.append(part)
            elif not kept:
                self.pin(part.labels, reason)
            else:
                fields.append(self._across(part, kept))
        axes = list(layout.axes)
        axes[axis] = factors_of(layout.size(axis))
        return Layout(tuple(axes), tuple(fields), layout.why)

    def _across(self, part: Field, kept: Sequence[int]) -> Field:
        """Couple labels along all slots but `kept`; the field that is left."""
        gone = [k for k in range(len(part.slots)) if k not in kept]
        labels = part.labels.transpose([*kept, *gone])
        flat = labels.reshape(*labels.shape[: len(kept)], -1)
        self.couple(flat, flat[..., :1])
        return Field(tuple(part.slots[k] for k in kept), flat[..., 0])

    def project(self, layout: Layout, axis: int) -> IntArray | None:
        """The labels along one axis: [size], coupled over all else they vary along; None where there are none."""
        fields = layout.fields
        if len(fields) == 1 and fields[0].slots == ((axis, 0),) and len(layout.axes[axis]) == 1:
            return fields[0].labels
        if len(layout.axes[axis]) > 1:
            layout = merge(layout, axis)
        parts = layout.on(axis)
        if not parts:
            return None
        if len(parts) == 1 and len(parts[0].slots) == 1:
            return parts[0].labels
        widest = parts[0]
        if len(parts) > 1:
            # Which set may change is decided once: at other widths another might be the widest.
            order = sorted(range(len(parts)), key=lambda k: -np.unique(parts[k].labels).size)
            chosen = int(self.modes.setdefault((self.node, axis), str(order[0])))
            widest = parts[min(chosen, len(parts) - 1)]
        for part in parts:
            if part is not widest:
                self.pin(part.labels, "two sets of channels share an axis")
        labels = axis_labels(widest, axis)
        if labels.shape[1] > 1:
            self.couple(labels, labels[:, :1])
        return labels[:, 0]

    def strip(self, layout: Layout, axis: int, reason: str) -> Layout:
        """The layout with one axis free of labels; those it had are pinned."""
        for part in layout.on(axis):
            self.pin(part.labels, reason)
        return without(layout, axis, layout.size(axis))

    def together(self, layouts: Sequence[Layout]) -> Layout:
        """The layout of an elementwise operator over broadcast operands; labels that meet are one channel."""
        first = layouts[0]
        if len(layouts) == 1:
            return first
        if all(_alike(first, other) for other in layouts[1:]):
            axes: tuple[Factors, ...] | None = first.axes
            for other in layouts[1:]:
                axes = _stretched(axes, other.axes) if axes is not None else None
            if axes is not None:
                for other in layouts[1:]:
                    for a, b in zip(first.fields, other.fields, strict=True):
                        if a.labels is not b.labels:
                            self._one(a.labels, b.labels)
                return first if axes is first.axes else Layout(axes, first.fields, first.why)
        rank = max(layout.rank for layout in layouts)
        operands = [
            layout if layout.rank == rank else insert_axes(layout, range(rank - layout.rank)) for layout in layouts
        ]
        for axis in range(rank):
            operands = self._aligned(operands, axis)
        axes = tuple(max((o.axes[axis] for o in operands), key=len) for axis in range(rank))
        fields: list[Field] = []
        for operand in operands:
            for part in operand.fields:
                self._meet(fields, part)
        why = next((o.why for o in operands if o.why), "")
        return Layout(axes, tuple(fields), why)

    def _aligned(self, operands: list[Layout], axis: int) -> list[Layout]:
        """Write one axis of all operands with the same factors; pin what meets an axis without channels."""
        full = [o for o in operands if o.axes[axis] and o.size(axis) != 1]
        if not full:
            return operands
        varying = [o for o in full if o.on(axis)]
        if not varying:
            ones = [self.strip(o, axis, "it is broadcast") if o.on(axis) else o for o in operands]
            known = next(
                (o.axes[axis] for o in full if all(isinstance(s, int) for s in o.axes[axis])), full[0].axes[axis]
            )
            return [_replaced(o, axis, known) if o.axes[axis] else o for o in ones]
        known_sizes = {size for o in full if isinstance(size := o.size(axis), int)}
        if len(known_sizes) > 1:
            raise Opaque(f"its operands have {' and '.join(map(str, sorted(known_sizes)))} channels")
        bare = next((o for o in full if not o.on(axis)), None)
        if bare is not None or any(o.size(axis) != full[0].size(axis) for o in full):
            reason = f"it is combined with {bare.why or 'values that are not channels'}" if bare else "sizes differ"
            stripped = [self.fix(o, axis, reason) if o.on(axis) else o for o in operands]
            return [_replaced(o, axis, factors_of(full[0].size(axis))) if o.axes[axis] else o for o in stripped]
        common: Factors | None = full[0].axes[axis]
        for operand in full[1:]:
            common = common_factors(common, operand.axes[axis]) if common is not None else None
        result = []
        for operand in operands:
            if not operand.axes[axis]:
                result.append(operand)
            elif operand.size(axis) == 1:
                result.append(self.strip(operand, axis, "it is broadcast"))
            else:
                result.append(refactor(operand, axis, common) if common else merge(operand, axis))
        return result

    def _meet(self, fields: list[Field], part: Field) -> None:
        """Add a field to those of the other operands."""
        for k, other in enumerate(fields):
            shared = set(other.slots) & set(part.slots)
            if not shared:
                continue
            if len(shared) == len(other.slots) == len(part.slots):
                order = [part.slots.index(slot) for slot in other.slots]
                self._one(other.labels, part.labels.transpose(order))
                return
            if len(shared) == len(part.slots):
                self._couple_broadcast(other, part)
                return
            if len(shared) == len(other.slots):
                self._couple_broadcast(part, other)
                del fields[k]
                self._meet(fields, part)
                return
            narrow = self._across(part, [n for n, s in enumerate(part.slots) if s in shared])
            del fields[k]
            self._meet(fields, self._across(other, [n for n, s in enumerate(other.slots) if s in shared]))
            self._meet(fields, narrow)
            return
        fields.append(part)

    def _one(self, left: IntArray, right: IntArray) -> None:
        """The labels of operands that meet; weights that are joined or added play one role, told by the first."""
        self.same(left, right)
        node = self.node
        if node is not None and node.op_type in ADDITIVE and node.outputs[0] in self.weights:
            self._parallel.append((left.ravel(), right.ravel()))

    def _couple_broadcast(self, wide: Field, narrow: Field) -> None:
        order = [narrow.slots.index(slot) for slot in wide.slots if slot in narrow.slots]
        shape = [n if slot in narrow.slots else 1 for slot, n in zip(wide.slots, wide.labels.shape, strict=True)]
        spread = narrow.labels.transpose(order).reshape(shape)
        self._not_crossed(wide, [k for k, slot in enumerate(wide.slots) if slot in narrow.slots])
        self.couple(wide.labels, spread)
        both = np.stack(np.broadcast_arrays(wide.labels, spread), axis=-1)
        axes = tuple((n,) for n in both.shape)
        self.views.append((Layout(axes, (Field(tuple((k, 0) for k in range(both.ndim)), both),)), None))

    def _not_crossed(self, wide: Field, kept: Sequence[int]) -> None:
        """Pin labels whose rows meet one set of channels and whose columns meet another: x x' over norms of rows.

        Both would go as one, but what is twice as long each way is four times as large.
        """
        labels = wide.labels
        counts = [n if k in kept else 1 for k, n in enumerate(labels.shape)]
        lines = np.broadcast_to(np.arange(int(np.prod(counts))).reshape(counts), labels.shape)
        flat = np.unique(labels.ravel(), return_index=True)[1]
        if flat.size != labels.size:
            return
        own = lines.ravel()[flat]
        known = self._lines.setdefault((int(labels.ravel()[flat[0]]), labels.size), [])
        for other in known:
            both = np.unique(other * labels.size + own).size
            if both > max(np.unique(other).size, np.unique(own).size):
                self.pin(labels, "its rows and its columns meet channels of their own")
        known.append(own)

    def declared(self, value: ir.Value) -> Layout:
        """A layout without labels from the shape that the model declares for a value; Opaque where it declares none."""
        if value.shape is None:
            raise Opaque(f"the shape of '{value.name}' is not known")
        sizes: list[Size] = []
        for axis, size in enumerate(value.shape):
            known = size.value if isinstance(size, ir.SymbolicDim) else size
            sizes.append(
                known if isinstance(known, int) and known > 0 else unknown(str(known or f"{value.name}.{axis}"))
            )
        return plain(sizes)

    def _input_index(self, value: ir.Value) -> int:
        assert self.node is not None
        return next(k for k, v in enumerate(self.node.inputs) if v is value)


def _alike(a: Layout, b: Layout) -> bool:
    """Whether two layouts have labels in the same places."""
    return (
        len(a.axes) == len(b.axes)
        and len(a.fields) == len(b.fields)
        and all(x.slots == y.slots for x, y in zip(a.fields, b.fields, strict=True))
        and all(x.labels.shape == y.labels.shape for x, y in zip(a.fields, b.fields, strict=True))
    )


def _stretched(a: tuple[Factors, ...], b: tuple[Factors, ...]) -> tuple[Factors, ...] | None:
    """The axes of two operands together where they differ in nothing but sizes of 1; None where they differ in more."""
    if a is b or a == b:
        return a
    if any(x != y and x and y for x, y in zip(a, b, strict=True)):
        return None
    return tuple([x or y for x, y in zip(a, b, strict=True)])


def _replaced(layout: Layout, axis: int, factors: Factors) -> Layout:
    axes = list(layout.axes)
    axes[axis] = factors
    return Layout(tuple(axes), layout.fields, layout.why)
