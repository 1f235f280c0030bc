"""Slice, Gather*, Scatter*, NonZero, OneHot, Pad, Compress (ONNX opset 7 to 26)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.backends.torch import symbols
from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node
from chanc.backends.torch.ops._common import flat_pads, literal

_FAR = 1 << 31


@emits("Slice")
def slice_1(ctx: Emitter, node: Node) -> None:
    """Slice-1: starts, ends, axes are attributes."""
    starts, ends = node.ints("starts") or [], node.ints("ends") or []
    axes = node.ints("axes") or list(range(len(starts)))
    _slice(ctx, node, list(starts), list(ends), axes, [1] * len(starts))


@emits("Slice", since=10)
def slice_10(ctx: Emitter, node: Node) -> None:
    """Slice-10..13: starts, ends, axes, steps are inputs; a negative step walks backwards."""
    starts, ends = ctx.host(node.input(1)), ctx.host(node.input(2))
    axes, steps = ctx.const(node.input(3)), ctx.const(node.input(4))
    if (node.has(3) and axes is None) or (node.has(4) and steps is None):
        raise node.refuse("its axes or steps are computed by the network")
    listed = (ctx.shape(node.input(1)) or (None,))[0] or 1
    count = (
        listed
        if starts is None and ends is None and axes is None
        else max(*(0 if host is None else len(host) for host in (starts, ends)), 1 if axes is None else len(axes))
    )
    first = [symbols.Sym(f"int({ctx(node.inputs[1])}[{i}])") for i in range(count)] if starts is None else list(starts)
    last = [symbols.Sym(f"int({ctx(node.inputs[2])}[{i}])") for i in range(count)] if ends is None else list(ends)
    over = list(range(count)) if axes is None else [int(axis) for axis in axes.reshape(-1)]
    by = [1] * count if steps is None else [int(step) for step in steps.reshape(-1)]
    if node.outputs[0] in ctx.parted:
        ctx.parted.remove(node.outputs[0])
    elif len(over) == 1 and by == [1] and (parts := _parts(ctx, node, over[0])):
        sizes = [end - start for start, end, _ in parts]
        ctx.unpack([ctx.new_value(out) for _, _, out in parts], f"{ctx(node.inputs[0])}.split({sizes}, {over[0]})")
        ctx.parted.update(out for _, _, out in parts if out is not node.outputs[0])
    else:
        _slice(ctx, node, first, last, over, by)


def _parts(ctx: Emitter, node: Node, axis: int) -> list[tuple[int, int, ir.Value]]:
    """(start, end, result) of the Slices that cut an axis of a value into parts, in order; none where they don't.

    A Split is quicker to train: what it passes back is joined once, where each Slice's is a whole value of zeros.
    """
    value, shape = node.inputs[0], ctx.shape(node.inputs[0])
    size = shape[axis] if shape is not None and 0 <= axis < len(shape) else None
    if value is None or size is None or ctx.symbolic(value):
        return []
    cuts = [use.node for use in value.uses() if use.node.op_type == "Slice" and use.node.graph is node.raw.graph]
    found = sorted(((*bounds, cut.outputs[0]) for cut in cuts if (bounds := _bounds(ctx, cut, axis, size))),
                   key=lambda part: part[:2])  # fmt: skip
    edges = [0, *(end for _, end, _ in found)]
    tiled = edges[-1] == size and all(start == edge for (start, _, _), edge in zip(found, edges, strict=False))
    return found if tiled and len(found) > 1 else []


def _bounds(ctx: Emitter, cut: ir.Node, axis: int, size: int) -> tuple[int, int] | None:
    """Start and end of a Slice along this axis alone, each entry taken, where they are known.

    One that goes to the end, however far that is, is what somebody wrote: its text holds no size.
    """
    hosts = [ctx.host(value) for value in cut.inputs[1:]]
    numbers = [host.reshape(-1).tolist() for host in hosts if host is not None and symbols.concrete(host)]
    if len(numbers) < len(hosts) or any(len(one) != 1 for one in numbers) or [axis] not in numbers[2:3]:
        return None
    if numbers[3:] not in ([], [[1]]):
        return None
    (start,), (end,) = numbers[:2]
    return (start, end) if 0 <= start < end <= size else None


def _slice(
    ctx: Emitter, node: Node, starts: list[object], ends: list[object], axes: list[int], steps: list[int]
) -> None:
    value = node.inputs[0]
    sizes = ctx.host(value)
    if ctx.symbolic(value) and sizes is not None and symbols.concrete(np.array([*starts, *ends, 0], dtype=object)):
        cut = [slice(None)] * sizes.ndim
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            stop = None if step < 0 and end < -sizes.shape[axis] else end
            cut[axis] = slice(start, stop, step)
        ctx.set_host(node.outputs[0], sizes[tuple(cut)])
        return
    if any(axis < 0 for axis in axes):
        rank = ctx.need_rank(node)
        axes = [axis % rank for axis in axes]
    if min(steps, default=1) < 0:
        arguments = ", ".join(
            f"({a}, {symbols.text(s)}, {symbols.text(e)}, {p})"
            for a, s, e, p in zip(axes, starts, ends, steps, strict=True)
        )
        ctx.write(node, f"{ctx.helper('strided_slice')}({ctx(value)}, [{arguments}])")
        return
    parts = [":"] * (max(axes, default=-1) + 1)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        parts[axis] = _part(start, end, step)
    ctx.write(node, f"{ctx(value)}[{', '.join(parts)}]" if parts else ctx(value))


def _part(start: object, end: object, step: int) -> str:
    low = "" if not isinstance(start, symbols.Sym) and start == 0 else symbols.text(start)
    high = "" if not isinstance(end, symbols.Sym) and end >= _FAR else symbols.text(end)  # type: ignore[operator]
    return f"{low}:{high}" + ("" if step == 1 else f":{step}")


@emits("Gather")
def gather(ctx: Emitter, node: Node) -> None:
    """Gather-1..13: data[..., indices, ...] along `axis`; a number is plain indexing, a weight an embedding."""
    data, where = node.inputs[0], node.inputs[1]
    axis, indices = node.i("axis"), ctx.host(where, limit=64)
    sizes = ctx.host(data)
    if ctx.symbolic(data) and sizes is not None and indices is not None and symbols.concrete(indices):
        ctx.set_host(node.outputs[0], symbols.as_objects(np.take(sizes, indices.astype(np.int64), axis)))
        return
    rank = ctx.rank(data)
    if axis < 0:
        axis %= ctx.need_rank(node)
    lead = ":, " * axis
    if indices is not None and indices.ndim == 0:
        ctx.write(node, f"{ctx(data)}[{lead}{symbols.text(indices[()])}]")
        return
    if axis == 0 and rank == 2 and ctx.const(data) is not None:
        ctx.write(node, f"F.embedding({ctx.nonnegative(node, 1, data, 0)}, {ctx(data)})")
        return
    ctx.write(node, f"{ctx(data)}[{lead}{ctx(where)}]")


@emits("GatherElements", since=11)
def gather_elements(ctx: Emitter, node: Node) -> None:
    """GatherElements-11/13: torch.gather."""
    axis, data = node.i("axis"), node.inputs[0]
    ctx.write(node, f"torch.gather({ctx(data)}, {axis}, {ctx.nonnegative(node, 1, data, axis)})")


@emits("GatherND", since=11)
def gather_nd(ctx: Emitter, node: Node) -> None:
    """GatherND-11..13: the last axis of the indices is a position in the data's axes after `batch_dims`."""
    ctx.write(node, f"{ctx.helper('gather_nd')}({ctx(node.inputs[0])}, {ctx(node.inputs[1])}, {node.i('batch_dims')})")


@emits("ScatterElements", "Scatter")
def scatter_elements(ctx: Emitter, node: Node) -> None:
    """ScatterElements-11..18 (Scatter-9): torch.scatter, or scatter_reduce for a reduction."""
    axis, data, how = node.i("axis"), node.inputs[0], node.s("reduction", "none")
    args = f"{axis}, {ctx.nonnegative(node, 1, data, axis)}, {ctx(node.inputs[2])}"
    if how == "none":
        ctx.write(node, f"torch.scatter({ctx(data)}, {args})")
    else:
        ctx.write(node, f'torch.scatter_reduce({ctx(data)}, {args}, "{_reduction(node, how)}")')


def _reduction(node: Node, how: str) -> str:
    names = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    if how not in names:
        raise node.refuse("its reduction is unknown")
    return names[how]


@emits("ScatterND", since=11)
def scatter_nd(ctx: Emitter, node: Node) -> None:
    """ScatterND-11..18: writes (or reduces) updates into a copy of the data."""
    how = node.s("reduction", "none")
    option = "" if how == "none" else f', "{_reduction(node, how)}"'
    args = ", ".join(ctx(value) for value in node.inputs)
    ctx.write(node, f"{ctx.helper('scatter_nd')}({args}{option})")


@emits("NonZero", since=9)
def non_zero(ctx: Emitter, node: Node) -> None:
    """NonZero-9/13: [rank, count]."""
    ctx.write(node, f"{ctx(node.inputs[0])}.nonzero().t()")


@emits("Compress", since=9)
def compress(ctx: Emitter, node: Node) -> None:
    """Compress-9/11: the slices for which the condition holds."""
    condition = ctx(node.inputs[1])
    x = ctx(node.inputs[0])
    if not node.given("axis"):
        ctx.write(node, f"{x}.flatten()[:{condition}.numel()][{condition}]")
    else:
        ctx.write(node, f"{x}.index_select({node.i('axis')}, {condition}.nonzero().flatten())")


@emits("OneHot", since=9)
def one_hot(ctx: Emitter, node: Node) -> None:
    """OneHot-9/11: depth and [off, on] values; a negative index counts from the end, one out of range gives all off."""
    depth = ctx.const(node.input(1))
    if depth is None:
        raise node.refuse("its depth is computed by the network")
    args = [ctx(node.inputs[0]), str(int(depth.reshape(-1)[0])), ctx(node.inputs[2]), str(node.i("axis", -1))]
    ctx.write(node, f"{ctx.helper('one_hot')}({', '.join(args)})")


@emits("Pad")
def pad_2(ctx: Emitter, node: Node) -> None:
    """Pad-2: pads and value are attributes."""
    pads = node.ints("pads") or []
    _pad(ctx, node, list(pads), list(range(len(pads) // 2)), literal(node.f("value", 0.0)))


@emits("Pad", since=11)
def pad(ctx: Emitter, node: Node) -> None:
    """Pad-11..25: begins then ends of `axes` (all where not given); modes constant, reflect, edge, wrap."""
    pads, axes = ctx.host(node.input(1)), ctx.const(node.input(3))
    if node.has(3) and axes is None:
        raise node.refuse("its axes are computed by the network")
    if pads is None:
        count = ctx.need_rank(node) if axes is None else axes.size
        text = ctx.ints(node.inputs[1])
        pads = symbols.as_objects([symbols.Sym(f"{text}[{place}]") for place in range(2 * count)])
    over = list(range(len(pads) // 2)) if axes is None else [int(axis) for axis in axes.reshape(-1)]
    fill = ctx.const(node.input(2))
    if node.has(2) and fill is None:
        value = f"{ctx(node.input(2))}.item()"
    else:
        value = "0.0" if fill is None else symbols.text(symbols.as_objects(fill).reshape(-1)[0])
    _pad(ctx, node, list(pads), over, value)


def _pad(ctx: Emitter, node: Node, pads: list[object], axes: list[int], value: str) -> None:
    mode = node.s("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise node.refuse("its mode is unknown")
    rank = ctx.rank(node.inputs[0])
    rank = len(axes) if rank is None else rank
    begin: list[object] = [0] * rank
    end: list[object] = [0] * rank
    for index, axis in enumerate(axes):
        begin[axis], end[axis] = pads[index], pads[len(axes) + index]
    while len(begin) > 1 and _is_zero(begin[0]) and _is_zero(end[0]):
        begin, end = begin[1:], end[1:]
    text = f"[{', '.join(symbols.text(entry) for entry in flat_pads(begin, end))}]"  # type: ignore[arg-type]
    x = ctx(node.inputs[0])
    if mode == "constant":
        ctx.write(node, f"F.pad({x}, {text}" + ("" if value in ("0.0", "0") else f", value={value}") + ")")
        return
    name = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}[mode]
    spatial = len(begin)
    if spatial <= 3 and rank - spatial in (1, 2) and mode != "wrap":
        ctx.write(node, f'F.pad({x}, {text}, mode="{name}")')
    else:
        ctx.write(node, f'{ctx.helper("pad_by_index")}({x}, {text}, "{mode}")')


def _is_zero(entry: object) -> bool:
    return not isinstance(entry, symbols.Sym) and entry == 0
