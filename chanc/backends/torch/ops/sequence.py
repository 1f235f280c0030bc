"""Sequences (ONNX SequenceConstruct-11 and its kin, SplitToSequence-11/24) as lists of tensors."""

from __future__ import annotations

import onnx_ir as ir

from chanc.backends.torch import symbols
from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node


@emits("SequenceEmpty", since=11)
def empty(ctx: Emitter, node: Node) -> None:
    """A list without entries."""
    ctx.write(node, "[]")


@emits("SequenceConstruct", since=11)
def construct(ctx: Emitter, node: Node) -> None:
    """The inputs in their order."""
    ctx.write(node, f"[{', '.join(ctx(value) for value in node.inputs)}]")


@emits("SplitToSequence", since=11)
def split(ctx: Emitter, node: Node) -> None:
    """Parts of one size, of given sizes, or of size 1, whose axis goes where keepdims is 0."""
    x, axis = ctx(node.inputs[0]), node.i("axis")
    if not node.has(1):
        ctx.write(node, f"{x}.split(1, {axis})" if node.i("keepdims", 1) else f"{x}.unbind({axis})")
        return
    rank = ctx.need_rank(node, 1)
    sizes = ctx.ints(node.input(1)) if rank else _integer(ctx, node.input(1))
    ctx.write(node, f"{x}.split({sizes}, {axis})")


@emits("ConcatFromSequence", since=11)
def concat(ctx: Emitter, node: Node) -> None:
    """All entries along an axis, a new one where new_axis is set."""
    function = "stack" if node.i("new_axis") else "cat"
    ctx.write(node, f"torch.{function}({ctx(node.inputs[0])}, {node.i('axis')})")


@emits("SequenceAt", since=11)
def at(ctx: Emitter, node: Node) -> None:
    """One entry; negative positions count from the end."""
    ctx.write(node, f"{ctx(node.inputs[0])}[{_integer(ctx, node.input(1))}]")


@emits("SequenceLength", since=11)
def length(ctx: Emitter, node: Node) -> None:
    """The number of entries."""
    ctx.write(node, f"torch.tensor(len({ctx(node.inputs[0])}), device={ctx.device()})")


@emits("SequenceInsert", since=11)
def insert(ctx: Emitter, node: Node) -> None:
    """A list with one entry more, before a position, by default at the end."""
    entries, tensor = ctx(node.inputs[0]), ctx(node.inputs[1])
    if not node.has(2):
        ctx.write(node, f"[*{entries}, {tensor}]")
        return
    where = _integer(ctx, node.input(2))
    ctx.write(node, f"[*{entries}[:{where}], {tensor}, *{entries}[{where}:]]")


@emits("SequenceErase", since=11)
def erase(ctx: Emitter, node: Node) -> None:
    """A list with one entry less, by default the last."""
    entries = ctx(node.inputs[0])
    where = _integer(ctx, node.input(1)) if node.has(1) else "-1"
    ctx.write(node, f"[*{entries}[:{where}], *{entries}[{where}:][1:]]")


def _integer(ctx: Emitter, value: ir.Value | None) -> str:
    host = ctx.host(value)
    return f"int({ctx(value)})" if host is None else symbols.text(host.reshape(-1)[0])
