"""If-1..25, Loop-1..25 and Scan-9..25: the branch is written in place, the loop unrolled where its length is known now.

Of an If on the input both branches are written, and what it chooses is picked in the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.program import Statement

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
    """A known number of turns with a condition that stays known; scan outputs are stacked."""
    count, condition, body = ctx.frozen(node.input(0)), ctx.frozen(node.input(1)), node.graph("body")
    if (node.has(0) and count is None) or (node.has(1) and condition is None) or not node.has(0):
        raise node.refuse("its number of turns or its condition is computed by the network")
    turns = int(count.reshape(-1)[0]) if count is not None else 0
    if turns > _MOST_TURNS:
        raise node.refuse(f"{turns} turns; at most {_MOST_TURNS} are unrolled")
    carried = [value for value in node.inputs[2:] if value is not None]
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
    """A turn for each slice of the last inputs, whose number must be known; a direction of 1 goes backwards."""
    body, count = node.graph("body"), node.i("num_scan_inputs")
    carried = [value for value in node.inputs[:-count] if value is not None]
    scanned = [value for value in node.inputs[-count:] if value is not None]
    axes, backward = (node.ints(f"scan_input_{name}") or [0] * count for name in ("axes", "directions"))
    shape = ctx.shape(scanned[0])
    turns = None if shape is None else shape[axes[0]]
    if turns is None or turns > _MOST_TURNS:
        raise node.refuse(f"an unknown number of turns, or more than {_MOST_TURNS}")
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


def _stacked(ctx: Emitter, node: Node, parts: list[list[str]], first: int) -> None:
    """The outputs of a Scan that have an entry a turn, along their axes and in their directions."""
    axes, backward = (node.ints(f"scan_output_{name}") or [0] * len(parts) for name in ("axes", "directions"))
    for index, part in enumerate(parts):
        if node.wants(first + index):
            entries = part[::-1] if backward[index] else part
            ctx.write(node, f"torch.stack([{', '.join(entries)}], {axes[index]})", out=first + index)
