"""Recurrent layers (ONNX LSTM, GRU, RNN): a hidden unit is a row of every gate, for both directions at once.

W: [directions, gates * hidden, input], R: [directions, gates * hidden, hidden], B: [directions, 2 * gates * hidden],
P: [directions, 3 * hidden]; X: [sequence, batch, input] and Y: [sequence, directions, batch, hidden], or with `layout`
1 [batch, sequence, input] and [batch, sequence, directions, hidden].
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.analysis.context import Context
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.initializers import Role
from chanc.analysis.layout import Factors, Field, Layout, Opaque, factors_of
from chanc.analysis.operands import consume, line
from chanc.analysis.quantised import Picked
from chanc.analysis.rules import rule

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
MADE, TAKEN = 1, 2
"""The axes of a weight along which gates are made, and along which inputs are taken."""
STATES = (5, 6)
PEEPHOLES = 7


@rule(*GATES)
def recurrent(context: Context) -> None:
    """LSTM, GRU, RNN."""
    _unrolled(context, GATES[context.node.op_type], MADE, TAKEN)


@rule("DynamicQuantizeLSTM", domain="com.microsoft")
def dynamic_quantize_lstm(context: Context) -> None:
    """An LSTM whose weights are turned, then their scales and zero points: [directions] or with gates * hidden."""
    rows = _unrolled(Picked(context, range(8)), GATES["LSTM"], TAKEN, MADE)
    for index in (8, 9, 10, 11):
        if context.value(index) is not None and context.rank(index) > 1:
            vector = context.parameter(index, (1,), integers=True)
            context.same(line(vector, 1), rows)


def _unrolled(context: Context, gates: int, made: int, taken: int) -> IntArray:
    """A layer whose weights have these axes; returns the labels of the rows of its gates: [gates * hidden]."""
    data = context.input(0)
    if data.rank != 3:
        raise Opaque("its input is not [sequence, batch, channels]")
    batch_first = bool(context.integer("layout", 0))
    data = context.fix(data, 1 if batch_first else 0, "it varies along the sequence of a recurrent layer")
    if any(context.value(index) is not None for index in (4, *STATES)):
        data = context.fix(data, 0 if batch_first else 1, "each has a length or a first state of its own")
    weight, recurrence = _matrix(context, 1), _matrix(context, 2)
    rows, inner = _labels(context, weight, made, "producer"), _labels(context, weight, taken, "consumer")
    again, hidden = _labels(context, recurrence, made, "producer"), _labels(context, recurrence, taken, "consumer")
    if rows.size != gates * hidden.size or again.size != rows.size:
        raise Opaque(f"its weights are not {gates} gates of {hidden.size} hidden units")
    consume(context, data, 2, inner)
    context.same(rows, again)
    _by_gate(context, rows, hidden)
    _vectors(context, hidden, left_out(context.mode(_zeros(context))))
    _outputs(context, data, weight.axes[0], hidden, batch_first)
    return rows


def _matrix(context: Context, index: int) -> Layout:
    if context.rank(index) != 3:
        raise Opaque("its weights are not [directions, rows, columns]")
    return context.parameter(index, (1, 2)) if context.is_parameter(index) else context.input(index)


def _labels(context: Context, layout: Layout, axis: int, role: Role) -> IntArray:
    found = context.project(layout, axis) if layout.rank == 3 else None
    if found is None and layout.rank == 3 and layout.size(axis) == 1:
        found = context.fresh(1)
        context.pin(found, "it is a single channel of a computed weight")
    if found is None:
        raise Opaque("its weights are computed from activations, or aren't floating point")
    context.mark(layout, axis, role)
    return found


def _zeros(context: Context) -> str:
    """Which initial states are generated zeros, as the node's mode: folded, they can't be told from learned ones."""
    values = {index: context.value(index) for index in STATES}
    return " ".join(str(index) for index, value in values.items() if value is not None and generated_zeros(value))


def left_out(mode: str) -> set[int]:
    """The inputs that a node's mode names as generated zeros."""
    return {int(index) for index in mode.split()}


def _vectors(context: Context, hidden: IntArray, zeros: set[int]) -> None:
    """Biases and peepholes hold several values a hidden unit; an initial state holds one."""
    for index in (3, PEEPHOLES, *STATES):
        value = context.value(index)
        if value is None:
            continue
        if index in zeros:
            for part in context.findings.layouts[value].fields if value in context.findings.layouts else ():
                context.pin(part.labels, "it is an initial state of zeros", tensor=value.name or "")
            continue
        axis = 2 if index in STATES else 1
        if context.rank(index) <= axis:
            raise Opaque(f"'{value.name}' has too few axes")
        layout = context.parameter(index, (axis,)) if context.is_parameter(index) else context.input(index)
        found = context.project(layout, axis)
        if found is None:
            context.pin(hidden, f"it meets {layout.why or 'values that are not channels'}", tensor=value.name or "")
        elif found.size % hidden.size:
            raise Opaque(f"'{value.name}' doesn't fit {hidden.size} hidden units")
        elif index in STATES:
            context.same(found, hidden)
        else:
            _by_gate(context, found, hidden)


def _by_gate(context: Context, rows: IntArray, hidden: IntArray) -> None:
    """Rows seen as [gates, hidden]: a hidden unit is a row of each."""
    grid = rows.reshape(-1, hidden.size)
    context.couple(grid, hidden[None])
    context.cut(rows, grid.shape[0], 1)
    context.beside(hidden, grid.T)


def _outputs(context: Context, data: Layout, directions: Factors, hidden: IntArray, batch_first: bool) -> None:
    """Y, Y_h and Y_c, whichever there are."""
    last = factors_of(hidden.size) or (1,)
    if batch_first:
        whole, state = (data.axes[0], data.axes[1], directions, last), (data.axes[0], directions, last)
    else:
        whole, state = (data.axes[0], directions, data.axes[1], last), (directions, data.axes[1], last)
    batch = 0 if batch_first else 1
    along = [f for f in data.fields if f.on(batch) and not f.on(2)]
    for index in range(len(context.node.outputs)):
        axes = state if index else whole
        place = 0 if batch_first else len(axes) - 2
        kept = [Field(tuple((place, k) for _, k in f.slots), f.labels) for f in along]
        context.output(Layout(axes, (Field(((len(axes) - 1, 0),), hidden), *kept), data.why), index)


def generated_zeros(value: ir.Value) -> bool:
    """Whether a value is zeros made in the graph to a computed shape: what exporters write for "no initial state"."""
    node = value.producer()
    if node is None or node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "ConstantOfShape":
        fill = node.attributes.get("value")
        return fill is None or not np.any(fill.as_tensor().numpy())
    source = node.inputs[0] if node.inputs else None
    if source is None or node.op_type not in ("Expand", "Cast", "Identity", "Unsqueeze", "Squeeze", "Slice", "Tile"):
        return False
    if source.const_value is not None:
        return not np.any(source.const_value.numpy())
    return generated_zeros(source)
