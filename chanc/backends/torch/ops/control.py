"""If-1..25, Loop-1..25 and Scan-9..25: the branch is written in place, a short loop of known length is unrolled.

The body of another loop is a submodule that is called again and again. Of an If on the input both branches are written,
and what it chooses is picked in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.program import Statement, value_token
from chanc.ir.nodes import bodies

_MOST_TURNS = 128
# What may fail for sizes that another branch is made for.
_SIZED = frozenset(["Expand", "Gather", "GatherND", "Reshape", "ScatterND", "Split"])


@emits("If")
def if_(ctx: Emitter, node: Node) -> None:
    """The branch that a constant condition chooses, else both."""
    condition = ctx.frozen(node.inputs[0])
    if condition is None:
        _either(ctx, node)
        return
    branch = node.graph("then_branch" if bool(condition.reshape(-1)[0]) else "else_branch")
    ctx.nodes(branch)
    for output, value in zip(node.outputs, branch.outputs, strict=True):
        ctx.alias(output, value)


def _either(ctx: Emitter, node: Node) -> None:
    """Both branches and `a if condition else b` for each output; both run, so neither may fail or learn then."""
    branches = [node.graph("then_branch"), node.graph("else_branch")]
    for inner in (inner for branch in branches for inner in ir.traversal.RecursiveGraphIterator(branch)):
        shape = ctx.shape(inner.outputs[0])
        if inner.op_type in _SIZED and (shape is None or None in shape[1:]):
            raise node.refuse(
                f"its condition is computed by the network, and a branch has {inner.op_type} of open sizes"
            )
        if inner.op_type == "BatchNormalization":
            raise node.refuse("its condition is computed by the network, and a branch has running statistics")
    for branch in branches:
        ctx.nodes(branch)
    condition = ctx.local(f"bool({ctx(node.inputs[0])})", "chosen", inline=False)
    for index, (a, b) in enumerate(zip(*(branch.outputs for branch in branches), strict=True)):
        ctx.write(node, f"{ctx(a)} if {condition} else {ctx(b)}", compound=True, out=index)
        ctx.same_channels(a, node.outputs[index])
        ctx.same_channels(b, node.outputs[index])


@emits("Loop")
def loop(ctx: Emitter, node: Node) -> None:
    """Turns up to a number, and while a condition holds; scan outputs are stacked."""
    count, condition, body = ctx.frozen(node.input(0)), ctx.frozen(node.input(1)), node.graph("body")
    carried = [value for value in node.inputs[2:] if value is not None]
    turns = _MOST_TURNS + 1 if count is None else int(count.reshape(-1)[0])
    if turns > _MOST_TURNS or (node.has(1) and condition is None) or not _foreseen(ctx, body, carried):
        _loop_of_a_block(ctx, node, body, carried)
        return
    going, scans = condition is None or bool(condition.reshape(-1)[0]), [[] for _ in body.outputs[1 + len(carried) :]]  # type: ignore[var-annotated]
    for turn in range(turns):
        if not going:
            break
        carried = _turn(ctx, body, turn, carried)
        for scan, value in zip(scans, body.outputs[1 + len(carried) :], strict=True):
            scan.append(ctx.local(ctx(value), "step", inline=False))
        known = ctx.frozen(body.outputs[0])
        if known is None:
            raise node.refuse("its condition is computed by the network")
        going = bool(known.reshape(-1)[0])
    for output, value in zip(node.outputs, carried, strict=False):
        ctx.alias(output, value)
    for index, scan in enumerate(scans, len(carried)):
        if node.wants(index):
            if not scan:
                raise node.refuse("a scan output of no turn")
            ctx.write(node, f"torch.stack([{', '.join(scan)}])", out=index)


def _foreseen(ctx: Emitter, body: ir.Graph, carried: Sequence[ir.Value]) -> bool:
    """Whether the condition to go on may follow from the number of a turn and from constants."""
    places = zip(body.inputs[2:], carried, strict=True)
    known = {*body.inputs[:2], *(place for place, value in places if ctx.frozen(value) is not None)}
    reached = [body.outputs[0]]
    while reached:
        value = reached.pop()
        node = value.producer()
        if value in known or ctx.frozen(value) is not None:
            continue
        if node is None or node.graph is not body or bodies(node):
            return False
        reached += [read for read in node.inputs if read is not None]
    return True


def _loop_of_a_block(ctx: Emitter, node: Node, body: ir.Graph, carried: Sequence[ir.Value]) -> None:
    _like(ctx, body.inputs[2:], carried)
    step, taken = ctx.block(node, body)
    count = f"int({ctx(node.input(0))})" if node.has(0) else "None"
    going = f"bool({ctx(node.input(1))})" if node.has(1) else "True"
    args = [step, count, going, _listed(ctx(value) for value in carried), _listed(map(value_token, taken))]
    _results(ctx, node, len(body.outputs) - 1, f"{ctx.helper('loop')}({', '.join(args)})")


def _like(ctx: Emitter, places: Sequence[ir.Value], values: Sequence[ir.Value], cut: Sequence[int] = ()) -> None:
    """Note of a body's inputs what is known of the values that they get, or of their slices along the axes `cut`."""
    for index, (place, value) in enumerate(zip(places, values, strict=True)):
        shape = ctx.shape(value)
        if place.shape is None and shape is not None and cut:
            ctx.set_shape(place, [size for axis, size in enumerate(shape) if axis != cut[index] % len(shape)])
        elif place.shape is None and shape is not None:
            ctx.set_shape(place, [None] * len(shape))  # a size may change from turn to turn


def _listed(texts: Iterable[str]) -> str:
    return f"[{', '.join(texts)}]"


def _results(ctx: Emitter, node: Node, count: int, call: str) -> None:
    """Write the results of a helper, so many."""
    given = [out if out.name else None for out in node.outputs]
    names = [ctx.new_value(out) for out in [*given, *[None] * (count - len(given))]]
    if count == 1:
        call = f"{call}[0]"
    ctx.unpack(list(names), call)


def _turn(ctx: Emitter, body: ir.Graph, turn: int, carried: list[ir.Value]) -> list[ir.Value]:
    """One turn; returns fresh values that hold what it carries over, since the body's own are written again."""
    ctx.forget(out for inner in body for out in inner.outputs)
    ctx.forget(body.inputs)
    ctx.set_const(body.inputs[0], np.array(turn, dtype=np.int64))
    ctx.set_const(body.inputs[1], np.array(True))
    for place, value in zip(body.inputs[2:], carried, strict=True):
        ctx.alias(place, value)
    ctx.nodes(body)
    return _kept(ctx, body.outputs[1 : 1 + len(carried)])


def _kept(ctx: Emitter, values: Sequence[ir.Value]) -> list[ir.Value]:
    kept = []
    for value in values:
        fresh = ir.Value(name=value.name, shape=value.shape, type=value.type)
        ctx.alias(fresh, value)
        kept.append(fresh)
    return kept


@emits("Scan", since=9)
def scan(ctx: Emitter, node: Node) -> None:
    """A turn for each slice of the last inputs; a direction of 1 goes backwards."""
    body, count = node.graph("body"), node.i("num_scan_inputs")
    carried = [value for value in node.inputs[:-count] if value is not None]
    scanned = [value for value in node.inputs[-count:] if value is not None]
    axes, backward = (node.ints(f"scan_input_{name}") or [0] * count for name in ("axes", "directions"))
    shape = ctx.shape(scanned[0])
    turns = None if shape is None else shape[axes[0]]
    if turns is None or turns > _MOST_TURNS:
        _scan_of_a_block(ctx, node, body, carried, scanned)
        return
    parts: list[list[str]] = [[] for _ in body.outputs[len(carried) :]]
    for turn in range(turns):
        ctx.forget(out for inner in body for out in inner.outputs)
        ctx.forget(body.inputs)
        for place, value in zip(body.inputs[: len(carried)], carried, strict=True):
            ctx.alias(place, value)
        for place, value, axis, back in zip(body.inputs[len(carried) :], scanned, axes, backward, strict=True):
            text = f"{ctx(value)}.select({axis}, {turns - 1 - turn if back else turn})"
            ctx.statements.append(Statement([ctx.new_value(place)], text))
        ctx.nodes(body)
        for part, value in zip(parts, body.outputs[len(carried) :], strict=True):
            part.append(ctx.local(ctx(value), "step", inline=False))
        carried = _kept(ctx, body.outputs[: len(carried)])
    for output, value in zip(node.outputs, carried, strict=False):
        ctx.alias(output, value)
    _stacked(ctx, node, parts, len(carried))


def _scan_of_a_block(
    ctx: Emitter, node: Node, body: ir.Graph, carried: Sequence[ir.Value], scanned: Sequence[ir.Value]
) -> None:
    axes, backward = (node.ints(f"scan_input_{name}") or [0] * len(scanned) for name in ("axes", "directions"))
    more = len(body.outputs) - len(carried)
    ends, turned = (node.ints(f"scan_output_{name}") or [0] * more for name in ("axes", "directions"))
    _like(ctx, body.inputs[: len(carried)], carried)
    _like(ctx, body.inputs[len(carried) :], scanned, axes)
    step, taken = ctx.block(node, body)
    ways = zip(scanned, axes, backward, strict=True)
    inputs = [f"({ctx(value)}, {axis}, {bool(back)})" for value, axis, back in ways]
    outputs = [f"({axis}, {bool(back)})" for axis, back in zip(ends, turned, strict=True)]
    states, given = (_listed(ctx(value) for value in carried), _listed(map(value_token, taken)))
    args = [step, states, _listed(inputs), _listed(outputs), given]
    _results(ctx, node, len(body.outputs), f"{ctx.helper('scan')}({', '.join(args)})")


def _stacked(ctx: Emitter, node: Node, parts: list[list[str]], first: int) -> None:
    """The outputs of a Scan that have an entry a turn, along their axes and in their directions."""
    axes, backward = (node.ints(f"scan_output_{name}") or [0] * len(parts) for name in ("axes", "directions"))
    for index, part in enumerate(parts):
        if node.wants(first + index):
            entries = part[::-1] if backward[index] else part
            ctx.write(node, f"torch.stack([{', '.join(entries)}], {axes[index]})", out=first + index)
