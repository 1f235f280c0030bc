"""What a rewrite means for a module: whether its forward can stay, and where the entries of its tensors come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from chanc.analysis.disjoint_set import IntArray
from chanc.backends.torch.body import live
from chanc.backends.torch.build import Source
from chanc.backends.torch.emitter import Emitter
from chanc.backends.torch.program import Binding, Program, Statement, tokens
from chanc.backends.torch.render import render
from chanc.backends.torch.writeback import arrays_of
from chanc.errors import ModelError
from chanc.ops import Reader, groups, reader, weight_of
from chanc.rewriter import Trace
from chanc.rewriter.axis_maps import occurrence
from chanc.rewriter.trace import TraceOperand

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Move:
    """How one state_dict entry follows: all arrays have its new shape.

    `source` holds flat positions in the old tensor; `rows` marks what belongs to new units, `columns` what reads them.
    """

    source: IntArray
    rows: Mask
    columns: Mask


class _Emission(Emitter):
    """An emission that remembers which node a statement came from."""

    def node_of(self, statement: Statement) -> str:
        """Operator and first output of the node that a statement computes."""
        later = (self._values[vid] for vid in range(statement.targets[0], len(self._values)))
        value = next((value for value in later if value is not None), None)
        node = value.producer() if value is not None else None
        return f"{node.op_type} {node.outputs[0].name!r}" if node is not None else "an operator"


def resized_source(source: str, name: str, before: ir.Model, after: ir.Model) -> Source:
    """The source of `after`, for a module that was made from `source`, the source of `before`.

    Its constants are those that differ from the old ones.
    Raises ModelError where the two differ in more than widths, naming the first operator.
    """
    old, new = _Emission(before, name), _Emission(after, name)
    was, now = old.run(), new.run()
    _compare_forward(old, was, now)
    _compare_submodules(was, now)
    # Rendering writes the table of widths into the programs, so it comes last.
    if render(was) != source:
        raise ModelError("can't resize in place: the module was not made from this model")
    reached = {mid for statement in live(now.statements, now.outputs) for mid in statement.calls}
    reached.update(mid for text in now.outputs for mid in tokens(text, "m"))
    text = render(now)
    bindings = {key: b for mid in sorted(reached) for key, b in now.submodules[mid].keys().items()}
    constants = {
        key: array
        for key, array in now.constants.items()
        if key in bindings and not np.array_equal(array, was.constants[key])
    }
    return Source(now.name, text, bindings, constants)


def _compare_forward(old: _Emission, was: Program, now: Program) -> None:
    before, after = live(was.statements, was.outputs), live(now.statements, now.outputs)
    for mine, theirs in zip(before, after, strict=False):
        if (mine.text, mine.targets) != (theirs.text, theirs.targets):
            raise ModelError(f"can't resize in place: the forward of {old.node_of(mine)} holds sizes that change")
    if len(before) != len(after) or (was.outputs, was.helpers) != (now.outputs, now.helpers):
        raise ModelError("can't resize in place: the rewritten model is computed in another way")


def _compare_submodules(was: Program, now: Program) -> None:
    for mid, mine in was.submodules.items():
        theirs = now.submodules.get(mid)
        kinds = (mine.path, mine.cls, len(mine.args), list(mine.tensors))
        if theirs is None or kinds != (theirs.path, theirs.cls, len(theirs.args), list(theirs.tensors)):
            raise ModelError(f"can't resize in place: {'.'.join(mine.path)} becomes another kind of layer")


def moves(model: ir.Model, trace: Trace, old: Mapping[str, Binding], new: Mapping[str, Binding]) -> dict[str, Move]:
    """The move of every state_dict entry whose initializer the rewrite of `model` resized, by its key.

    Raises ModelError where an entry can't be followed.
    """
    nodes = {out.name: node for graph in model.graphs() for node in graph for out in node.outputs}
    by_use: dict[tuple[object, ...], TraceOperand] = {(o.node, o.input): o for o in trace.operands if o.node}
    by_use |= {("", o.initializer, o.input): o for o in trace.operands if not o.node}
    by_name = {operand.initializer: operand for operand in reversed(trace.operands)}
    shapes = {key: array.shape for key, array in arrays_of(model, old).items()}
    found = {}
    for key, binding in old.items():
        # A node whose first output nobody reads has no name in the trace: its weights are known by theirs.
        unnamed = [("", binding.initializer, index) for _, index in binding.uses]
        operand = next((by_use[use] for use in (*binding.uses, *unnamed) if use in by_use), None)
        if operand is None and not binding.uses:
            operand = by_name.get(binding.initializer)
        if operand is not None and not binding.constant:
            node = nodes.get(binding.uses[0][0] if binding.uses else operand.node)
            found[key] = _move(key, shapes[key], (binding, new[key]), operand, node)
    return found


def _move(
    key: str, shape: tuple[int, ...], bindings: tuple[Binding, Binding], operand: TraceOperand, node: ir.Node | None
) -> Move:
    """`shape`: that of the initializer before; `bindings`: of the entry, before and after."""
    axes = operand.axes
    if node is None:
        raise ModelError("can't resize in place: the rewrite is one of another model")
    if any(axis >= len(shape) or source.max(initial=0) >= shape[axis] for axis, source in axes.items()):
        raise ModelError(f"can't resize in place: {key} has another shape than the initializer that was rewritten")
    entries = bindings[0].to_tensor(np.arange(int(np.prod(shape))).reshape(shape))
    places = np.full(shape, -1, dtype=np.int64)
    places.put(entries, np.arange(entries.size))
    for axis, source in axes.items():
        places = places.take(source, axis=axis)
    rows, columns = np.zeros(places.shape, dtype=bool), np.zeros(places.shape, dtype=bool)
    read = reader(node, operand.input, len(shape))
    consumed = _consumer_axes(read, shape)
    for axis, source in axes.items():
        later = occurrence(source) > 0
        marked = columns if axis in consumed else rows
        marked |= later.reshape(-1, *[1] * (places.ndim - axis - 1))
    if (rows.any() or columns.any()) and not _can_grow(read):
        called = f"{read.node.op_type} {read.node.outputs[0].name!r}"
        raise ModelError(f"can't grow in place: input {read.input} of {called}")
    source = bindings[1].to_tensor(places)
    if source.min(initial=0) < 0:
        raise ModelError(f"can't resize in place: entries of {key} would come from another tensor")
    return Move(source, bindings[1].to_tensor(rows), bindings[1].to_tensor(columns))


def _can_grow(read: Reader) -> bool:
    """Whether new entries of a weight change no other channel: they make one, are one's own, or are multiplied by 0."""
    return weight_of(read.node, read.input) is not None


def _consumer_axes(read: Reader, shape: tuple[int, ...]) -> frozenset[int]:
    """The axes of a tensor of that shape along which channels are read."""
    weight = weight_of(read.node, read.input)
    if weight is None or read.order is None:
        return frozenset()
    axes = weight.takes(read.node.attributes, len(shape))
    if weight.kernel and 0 in axes and groups(read.node.attributes) > 1 and shape[read.order[1]] == 1:
        return frozenset()  # depthwise: the axis makes channels as much as it reads them
    return frozenset(read.order[axis] for axis in axes)
