"""Operators that move or measure axes: Reshape, Transpose, Concat, Split, Shape, Expand, Tile, ... (opset 7 to 26)."""

from __future__ import annotations

import numpy as np

from chanc.backends.torch import symbols
from chanc.backends.torch.emitter import Emitter, emits
from chanc.backends.torch.node import Node


@emits("Identity")
def identity(ctx: Emitter, node: Node) -> None:
    """Identity-1: another name of the same value."""
    ctx.alias(node.outputs[0], node.inputs[0])  # type: ignore[arg-type]


@emits("Constant")
def constant(ctx: Emitter, node: Node) -> None:
    """Constant-1..13, in each of its attributes; one that holds strings is refused when it is read."""
    value = node.outputs[0]
    if ctx.const(value) is not None:
        return
    array = node.tensor("value")
    for name, kind in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if array is None and node.given(name):
            array = np.array(node.floats(name) if name == "value_floats" else node.ints(name) if name == "value_ints"
                             else node.f(name) if name == "value_float" else node.i(name), dtype=kind)  # fmt: skip
    if array is None:
        raise node.refuse("a constant of strings or a sparse one")
    ctx.set_const(value, array, origin=value)


@emits("Shape")
def shape(ctx: Emitter, node: Node) -> None:
    """Shape-1..15: a list of sizes; only the unknown ones are read when the network runs."""
    value, rank = node.inputs[0], ctx.rank(node.inputs[0])
    if value is None or rank is None:
        ctx.write(node, f"torch.tensor({ctx(value)}.shape)")
        return
    axes = range(rank)[node.i("start", 0) : node.i("end", rank)]
    sizes = np.empty(len(axes), dtype=object)
    for index, axis in enumerate(axes):
        sizes[index] = ctx.size(value, axis)
    ctx.set_host(node.outputs[0], sizes)


@emits("Size")
def size(ctx: Emitter, node: Node) -> None:
    """Size-1: the number of elements."""
    known = ctx.shape(node.inputs[0])
    if known is not None and None not in known:
        ctx.set_host(node.outputs[0], symbols.as_objects(int(np.prod([dim or 0 for dim in known]))))
    else:
        ctx.set_host(node.outputs[0], symbols.as_objects(symbols.Sym(f"{ctx(node.inputs[0])}.numel()")))


@emits("Reshape")
def reshape(ctx: Emitter, node: Node) -> None:
    """Reshape-5..21: 0 copies the input's size unless allowzero, -1 is inferred; `x.flatten(1)` where it is that."""
    if node.given("shape"):
        raise node.refuse("Reshape of opset 1 to 4")
    x, target = node.inputs[0], ctx.host(node.input(1))
    if target is None:
        text = f"{ctx(x)}.reshape({ctx.ints(node.input(1))})"
        if not node.i("allowzero"):
            text = f"{ctx.helper('reshape')}({ctx(x)}, {ctx.ints(node.input(1))})"
        ctx.write(node, text)
        return
    if ctx.symbolic(x):
        _reshape_sizes(ctx, node, target)
        return
    entries = [
        ctx.size(x, axis) if not isinstance(entry, symbols.Sym) and entry == 0 and not node.i("allowzero") else entry  # type: ignore[arg-type]
        for axis, entry in enumerate(target)
    ]
    unknown = [index for index, entry in enumerate(entries) if isinstance(entry, symbols.Sym)]
    known = [entry for entry in entries if not isinstance(entry, symbols.Sym)]
    if len(unknown) == 1 and all(entry > 0 for entry in known):
        entries[unknown[0]] = -1
    ctx.set_shape(node.outputs[0], _result_shape(ctx, node, entries))
    shape_in = ctx.shape(x)
    flat = shape_in is not None and len(entries) == 2 and len(shape_in) > 1 and None not in shape_in[1:]
    if flat and [entries[0], shape_in[0]] == [-1, None] and entries[1] == np.prod(shape_in[1:]):  # type: ignore[index,arg-type]
        ctx.write(node, f"{ctx(x)}.flatten(1)")
        return
    ctx.write(node, f"{ctx(x)}.reshape({', '.join(symbols.text(entry) for entry in entries) or '()'})")


def _result_shape(ctx: Emitter, node: Node, entries: list[object]) -> list[int | None]:
    dims = [int(e) if not isinstance(e, symbols.Sym) and e > 0 else None for e in entries]  # type: ignore[operator, call-overload]
    shape_in = ctx.shape(node.inputs[0])
    if dims.count(None) == 1 and shape_in is not None and None not in shape_in:
        dims[dims.index(None)] = int(np.prod([d or 0 for d in shape_in])) // max(
            int(np.prod([d for d in dims if d])), 1
        )
    return dims


def _reshape_sizes(ctx: Emitter, node: Node, target: np.ndarray) -> None:
    sizes = ctx.host(node.inputs[0])
    if sizes is None or not symbols.concrete(target):
        raise node.refuse("a list of sizes is reshaped by computed sizes")
    ctx.set_host(node.outputs[0], sizes.reshape([int(entry) for entry in target]))


@emits("Flatten")
def flatten(ctx: Emitter, node: Node) -> None:
    """Flatten-1..21: always a matrix, [product before `axis`, product from `axis` on]."""
    rank = ctx.need_rank(node)
    axis = node.i("axis", 1)
    axis = axis + rank if axis < 0 else axis
    x = ctx(node.inputs[0])
    if axis == 1:
        ctx.write(node, f"{x}.flatten(1)" if rank > 1 else f"{x}.unsqueeze(1)")
    elif axis == 0:
        ctx.write(node, f"{x}.reshape(1, -1)")
    elif axis == rank:
        ctx.write(node, f"{x}.reshape(-1, 1)")
    else:
        ctx.write(node, f"{x}.flatten(0, {axis - 1}).flatten(1)")


@emits("Transpose")
def transpose(ctx: Emitter, node: Node) -> None:
    """Transpose-1..23: reversed axes where `perm` is not given."""
    perm = node.ints("perm") or list(range(ctx.need_rank(node)))[::-1]
    sizes = ctx.host(node.inputs[0])
    if ctx.symbolic(node.inputs[0]) and sizes is not None:
        ctx.set_host(node.outputs[0], sizes.transpose(perm))
        return
    swapped = [axis for axis, source in enumerate(perm) if axis != source]
    dims = ctx.shape(node.inputs[0])
    if dims is not None and len(dims) == len(perm):
        ctx.set_shape(node.outputs[0], [dims[source] for source in perm])
    if not swapped:
        ctx.alias(node.outputs[0], node.inputs[0])  # type: ignore[arg-type]
    elif len(swapped) == 2:
        ctx.write(node, f"{ctx(node.inputs[0])}.transpose({swapped[0]}, {swapped[1]})")
    else:
        ctx.write(node, f"{ctx(node.inputs[0])}.permute({', '.join(map(str, perm))})")


@emits("Squeeze")
def squeeze(ctx: Emitter, node: Node) -> None:
    """Squeeze-1..25: axes as attribute or input; all of size one where none are given."""
    axes, sizes = ctx.axes(node, 1), ctx.host(node.inputs[0])
    if ctx.symbolic(node.inputs[0]) and sizes is not None:
        ctx.set_host(node.outputs[0], symbols.as_objects(np.squeeze(sizes, None if axes is None else tuple(axes))))
    elif axes is None:
        ctx.write(node, f"{ctx(node.inputs[0])}.squeeze()")
    else:
        ctx.write(node, f"{ctx(node.inputs[0])}.squeeze({axes[0] if len(axes) == 1 else tuple(axes)})")


@emits("Unsqueeze")
def unsqueeze(ctx: Emitter, node: Node) -> None:
    """Unsqueeze-1..25: axes count in the output."""
    axes, value = ctx.axes(node, 1) or [], node.inputs[0]
    sizes = ctx.host(value)
    if ctx.symbolic(value) and sizes is not None:
        ctx.set_host(node.outputs[0], np.expand_dims(sizes, tuple(axes)))
        return
    if len(axes) > 1 or axes[0] < 0:
        rank = ctx.need_rank(node) + len(axes)
        axes = sorted(axis % rank for axis in axes)
    ctx.write(node, ctx(value) + "".join(f".unsqueeze({axis})" for axis in axes))


@emits("Concat")
def concat(ctx: Emitter, node: Node) -> None:
    """Concat-4..13 along `axis`; one that goes on from an earlier Concat (a dense block) takes over its result."""
    hosts = [ctx.host(value) for value in node.inputs]
    if any(ctx.symbolic(value) for value in node.inputs) and all(host is not None for host in hosts):
        ctx.set_host(node.outputs[0], np.concatenate([host for host in hosts if host is not None], node.i("axis")))
        return
    if len(node.inputs) == 1 and node.inputs[0] is not None:
        ctx.alias(node.outputs[0], node.inputs[0])
        return
    axis, parts = node.i("axis", 1), [ctx(value) for value in node.inputs]
    joined = list(parts)
    for count in range(len(parts) - 1, 1, -1):
        if (axis, *parts[:count]) in ctx.joined:
            joined = [ctx.joined[axis, *parts[:count]], *parts[count:]]
            break
    ctx.write(node, f"torch.cat([{', '.join(joined)}], {axis})")
    ctx.joined[axis, *parts] = ctx(node.outputs[0])


@emits("Split")
def split(ctx: Emitter, node: Node) -> None:
    """Split-2..18: sizes as attribute or input, else equal parts (`num_outputs`, the last may be smaller)."""
    x, axis = ctx(node.inputs[0]), node.i("axis", 0)
    sizes = node.ints("split")
    if sizes is None and node.has(1):
        text = ctx.ints(node.input(1))
    elif sizes is not None:
        text = str(sizes)
    else:
        count = node.i("num_outputs", len(node.outputs))
        dims = ctx.shape(node.inputs[0])
        whole = None if dims is None else dims[axis]
        text = str(-(-whole // count)) if whole is not None else f"-(-{x}.size({axis}) // {count})"
    if len(node.outputs) == 1:
        ctx.write(node, f"{x}.split({text}, {axis})[0]")
    else:
        ctx.write_many(node, f"{x}.split({text}, {axis})")


@emits("Expand")
def expand(ctx: Emitter, node: Node) -> None:
    """Expand-8/13: broadcasting both ways, a 1 keeps the input's size."""
    target, dims = ctx.host(node.input(1)), ctx.shape(node.inputs[0])
    if ctx.symbolic(node.inputs[0]):
        sizes = ctx.host(node.inputs[0])
        if sizes is not None and target is not None and symbols.concrete(target):
            ctx.set_host(node.outputs[0], np.broadcast_to(sizes, [int(entry) for entry in target]))
            return
    simple = target is not None and dims is not None and len(target) >= len(dims)
    if simple and target is not None and dims is not None:
        tail = target[len(target) - len(dims) :]
        if all(
            dim == 1 or isinstance(entry, symbols.Sym) or entry in (1, dim)
            for entry, dim in zip(tail, dims, strict=True)
        ):
            lead = len(target) - len(dims)
            entries = [
                -1 if index >= lead and not isinstance(entry, symbols.Sym) and entry == 1 else entry
                for index, entry in enumerate(target)
            ]
            if all(dim == 1 or not isinstance(entry, symbols.Sym) for entry, dim in zip(tail, dims, strict=True)):
                ctx.write(node, f"{ctx(node.inputs[0])}.expand({', '.join(symbols.text(entry) for entry in entries)})")
                return
    ctx.write(node, f"{ctx.helper('expand')}({ctx(node.inputs[0])}, {ctx.ints(node.input(1))})")


@emits("Tile")
def tile(ctx: Emitter, node: Node) -> None:
    """Tile-6/13: repeats along each axis."""
    ctx.write(node, f"{ctx(node.inputs[0])}.repeat({ctx.ints(node.input(1))})")


@emits("DepthToSpace")
def depth_to_space(ctx: Emitter, node: Node) -> None:
    """DepthToSpace-1..13: mode CRD is torch's pixel_shuffle; DCR has the block axes outside the channels."""
    x, r = ctx(node.inputs[0]), node.i("blocksize")
    if node.s("mode", "DCR") == "CRD":
        ctx.write(node, f"F.pixel_shuffle({x}, {r})")
    else:
        channels = (ctx.shape(node.inputs[0]) or (None, None))[1]
        if channels is None:
            raise node.refuse("the number of channels is not known")
        ctx.write(
            node,
            f"F.pixel_shuffle({x}.unflatten(1, ({r * r}, {channels // (r * r)})).transpose(1, 2).flatten(1, 2), {r})",
        )


@emits("SpaceToDepth")
def space_to_depth(ctx: Emitter, node: Node) -> None:
    """SpaceToDepth-1/13: [N, C, H, W] -> [N, r r C, H / r, W / r], block axes outside the channels."""
    r = node.i("blocksize")
    channels = (ctx.shape(node.inputs[0]) or (None, None))[1]
    if channels is None:
        raise node.refuse("the number of channels is not known")
    if node.s("mode", "DCR") == "CRD":
        ctx.write(node, f"F.pixel_unshuffle({ctx(node.inputs[0])}, {r})")
        return
    blocks = f"F.pixel_unshuffle({ctx(node.inputs[0])}, {r}).unflatten(1, ({channels}, {r * r}))"
    ctx.write(node, f"{blocks}.transpose(1, 2).flatten(1, 2)")


@emits("ConstantOfShape", since=9)
def constant_of_shape(ctx: Emitter, node: Node) -> None:
    """ConstantOfShape-9..25: filled with `value`, 0.0 by default."""
    value = node.tensor("value")
    value = np.zeros(1, np.float32) if value is None else value
    fill = symbols.text(symbols.as_objects(value).reshape(-1)[0])
    dtype = ctx.dtype(node.outputs[0]) if node.outputs[0].dtype is not None else str(value.dtype)
    ctx.write(node, f"torch.full({ctx.ints(node.inputs[0])}, {fill}, dtype=torch.{dtype}, device={ctx.device()})")


@emits("Range", since=11)
def range_(ctx: Emitter, node: Node) -> None:
    """Range-11: start, limit, delta."""
    hosts = [ctx.host(value) for value in node.inputs]
    if all(host is not None for host in hosts):
        parts = [symbols.text(host.reshape(-1)[0]) for host in hosts if host is not None]
    else:
        parts = [f"{ctx(value)}.item()" for value in node.inputs]
    ctx.write(node, f"torch.arange({', '.join(parts)}, dtype=torch.{ctx.dtype(node.inputs[0])}, device={ctx.device()})")


@emits("EyeLike", since=9)
def eye_like(ctx: Emitter, node: Node) -> None:
    """EyeLike-9: ones on diagonal `k` of a matrix of the input's shape."""
    x = ctx(node.inputs[0])
    dtype = ctx.dtype_name(node, node.i("dtype")) if node.given("dtype") else ctx.dtype(node.inputs[0])
    ones = f"torch.ones({x}.size(0) + {x}.size(1), dtype=torch.{dtype}, device={ctx.device()})"
    ctx.write(node, f"torch.diag_embed({ones}, {node.i('k')})[: {x}.size(0), : {x}.size(1)]")


@emits("Trilu", since=14)
def trilu(ctx: Emitter, node: Node) -> None:
    """Trilu-14: the upper or lower triangle from diagonal `k` on."""
    k = ctx.ints(node.input(1))[1:-1] if node.has(1) else "0"
    k = f"int({ctx(node.input(1))})" if "tolist" in k else k
    ctx.write(node, f"torch.{'triu' if node.i('upper', 1) else 'tril'}({ctx(node.inputs[0])}, {k})")
