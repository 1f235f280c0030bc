"""What is known of a graph's initializers: their kinds, and the labels on their axes as nodes use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import onnx_ir as ir

from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import Factors, Field, Layout, Opaque, factors_of
from chanc.ir.dtypes import CHANNEL_TYPES
from chanc.ir.initializers import constant_shape, shape_of
from chanc.ops import Trait, has

Role = Literal["producer", "consumer", "follower"]
Use = tuple[ir.Node, int]
"""A node, and one of its inputs."""
FLOAT = ir.DataType.FLOAT


@dataclass(slots=True)
class ParameterAxis:
    """One axis of an initializer with labels, as one or more nodes use it."""

    value: ir.Value
    axis: int
    labels: IntArray
    uses: Sequence[Use]
    tied: bool
    role: Role = "follower"

    def __repr__(self) -> str:
        return f"<ParameterAxis '{self.value.name}':{self.axis}: {self.labels.size} labels, {self.role}>"


class Constant(NamedTuple):
    """What rules ask of an initializer again and again.

    channels: its type may be that of channels; tied: several uses are one; shown: it is a graph output; once: one use.
    """

    shape: tuple[int, ...]
    channels: bool
    tied: bool
    shown: bool
    once: bool


@dataclass(slots=True, repr=False)
class Initializers:
    """`axes` are those with labels, in the order in which they were met; `own` those that have labels of their own."""

    axes: list[ParameterAxis] = field(default_factory=list)
    own: list[ParameterAxis] = field(default_factory=list)
    _constants: dict[ir.Value, Constant] = field(default_factory=dict)
    _known: dict[object, ParameterAxis] = field(default_factory=dict)
    _cutters: dict[tuple[str, str], bool] = field(default_factory=dict)

    def constant(self, value: ir.Value) -> Constant:
        """Shape and kind of an initializer; Opaque where the value is none."""
        found = self._constants.get(value)
        if found is None:
            if value.const_value is None:
                raise Opaque(f"'{value.name}' is not an initializer")
            found = self._constants[value] = self._read(value)
        return found

    def asked(self, value: ir.Value | None) -> bool:
        """Whether a rule has asked for a value: how it is used counts then."""
        return value in self._constants

    def _read(self, value: ir.Value) -> Constant:
        shape, users, dtype, shown = constant_shape(value), value.uses(), value.dtype, value.is_graph_output()
        once = len(users) == 1
        tied = shown or (len(shape) > 1 and len(shape) - shape.count(1) > 1)
        if not tied and not once:
            tied = True in [self._cuts(user) for user, _ in users]
        # Most are of one type, which is looked at first.
        return Constant(shape, dtype is FLOAT or dtype in CHANNEL_TYPES, tied, shown, once)

    def _cuts(self, node: ir.Node) -> bool:
        """Whether a node takes parts of an axis; asked once an operator, as every vector has a user."""
        kind = node.domain, node.op_type
        found = self._cutters.get(kind)
        if found is None:
            found = self._cutters[kind] = has(node, Trait.CUTTER)
        return found

    def labels(
        self, value: ir.Value, axis: int, use: Use, constant: Constant, fresh: Callable[[int], IntArray]
    ) -> tuple[IntArray, bool]:
        """The labels of an axis as a node uses it, which is noted: [its size], and whether they were made just now."""
        key = _key(value, axis, None if constant.tied or constant.once else use)
        found = self._known.get(key)
        if found is not None:
            if use not in found.uses:
                found.uses = [*found.uses, use]
            return found.labels, False
        labels = fresh(constant.shape[axis])
        found = self._known[key] = ParameterAxis(value, axis, labels, (use,), constant.tied)
        self.own.append(found)
        self.axes.append(found)
        return labels, True

    def adopt(self, value: ir.Value, axis: int, use: Use, labels: IntArray, role: Role) -> bool:
        """Give an axis labels that others have as well; False where it must have its own."""
        tensor, users, constant = value.const_value, value.uses(), self._constants.get(value)
        if tensor is None:
            return False
        if constant is None and len(users) > 1:
            constant = self.constant(value)
        if constant is None:
            # Of most, which have one use, nobody asks anything else: what is read of them is not kept.
            shape, dtype, once = shape_of(tensor), value.dtype, True
            tied = len(shape) > 1 and len(shape) - shape.count(1) > 1
            usable = (dtype is FLOAT or dtype in CHANNEL_TYPES) and not value.is_graph_output()
        else:
            shape, tied, once = constant.shape, constant.tied, constant.once
            usable = constant.channels and not constant.shown and (once or not tied)
        if not usable or shape[axis] != labels.size:
            return False
        key = value if once and not axis else _key(value, axis, None if once else use)
        if key in self._known:
            return False
        found = ParameterAxis(value, axis, labels, tuple(users) if once else (use,), tied, role)
        self._known[key] = found
        self.axes.append(found)
        return True

    def seen(self, value: ir.Value, use: Use) -> Layout | None:
        """The layout of an initializer as a node that was visited saw it; None where it had no labels."""
        shape = constant_shape(value)
        axes: list[Factors] = [factors_of(n) for n in shape]
        fields = []
        for axis, size in enumerate(shape):
            known = self._known.get(_key(value, axis)) or self._known.get(_key(value, axis, use))
            if known is not None and use in known.uses:
                axes[axis] = (size,)
                fields.append(Field(((axis, 0),), known.labels))
        return Layout(tuple(axes), tuple(fields)) if fields else None


def _key(value: ir.Value, axis: int, use: Use | None = None) -> object:
    """By what an axis is known: with its use where each of several has labels of its own."""
    return (value, axis, use) if use is not None else (value, axis) if axis else value
