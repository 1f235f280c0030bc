"""Operators that see the same values through other axes (ONNX Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand,
Tile, DepthToSpace, SpaceToDepth): executed on layouts."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from itertools import takewhile

import numpy as np

from chanc.analysis import dims
from chanc.analysis.context import Context
from chanc.analysis.declared import declared
from chanc.analysis.dims import Dim, Size
from chanc.analysis.evaluate import is_fill
from chanc.analysis.layout import (
    Field,
    Layout,
    Opaque,
    drop_axes,
    factors_of,
    insert_axes,
    merge,
    narrowed,
    plain,
    take,
)
from chanc.analysis.layout import transpose as permuted
from chanc.analysis.rules import rule


@rule("Reshape")
def reshape_to(context: Context) -> None:
    """Reshape: 0 copies a size (unless `allowzero`), -1 is what is left over."""
    layout = context.input(0)
    target = target_sizes(context, layout)
    if target is None:
        if layout.fields:
            raise Opaque("its target shape is computed while the model runs")
        context.output(declared(context.node.outputs[0]))
        return
    known = _equated(layout.sizes, tuple(target))
    if known:
        target = [dims.substituted(size, known) for size in target]
        axes = [tuple(dims.substituted(size, known) for size in factors) for factors in layout.axes]
        layout = Layout(tuple(axes), layout.fields, layout.why)
    context.output(_between(context, layout, target))


def _between(context: Context, layout: Layout, target: list[Size]) -> Layout:
    """The layout seen through a Reshape; where sizes don't fit, axes before and after those without labels stay.

    Windows of an image of open size: [N, H, W, C] -> [N, floor(H / 4), 4, floor(W / 4), 4, C].
    """
    try:
        return context.reshaped(layout, target)
    except Opaque:
        if not layout.fields:
            return plain(target, layout.why)
        first, last = _alike(layout.sizes, target), -_alike(layout.sizes[::-1], target[::-1])
        middle = range(first, layout.rank + last)
        if any(layout.on(axis) for axis in middle) or first - last > min(layout.rank, len(target)):
            raise
    new = [factors_of(size) for size in target[first : len(target) + last]]
    shift = len(target) - layout.rank
    axes = (*layout.axes[:first], *new, *layout.axes[layout.rank + last :])
    fields = [
        Field(tuple((axis if axis < first else axis + shift, k) for axis, k in part.slots), part.labels)
        for part in layout.fields
    ]
    return Layout(axes, tuple(fields), layout.why)


def _alike(left: Sequence[Size], right: Sequence[Size]) -> int:
    """How many sizes are alike from the start on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def target_sizes(context: Context, layout: Layout) -> list[Size] | None:
    """The sizes a Reshape asks for, all resolved; None where they aren't known."""
    given = context.integer_list("shape")
    if given is None:
        known = context.constant(1)
        if known is None:
            return None
        sizes: list[Size] = known.ravel().tolist()
    else:
        sizes = list(given)
    if not context.integer("allowzero", 0):
        sizes = [layout.size(k) if size == 0 else size for k, size in enumerate(sizes)]
    if -1 in sizes:
        rest = _left_over(layout.sizes, tuple(sizes))
        sizes = [(context.unknown_size("rest") if rest is None else rest) if size == -1 else size for size in sizes]
    return sizes


@functools.lru_cache(maxsize=1 << 10)
def _left_over(sizes: tuple[Size, ...], asked: tuple[Size, ...]) -> Size | None:
    """What -1 stands for among the sizes asked for; None where that can't be told."""
    return dims.divide(dims.product(sizes), dims.product(size for size in asked if size != -1))


@functools.lru_cache(maxsize=1 << 10)
def _equated(sizes: tuple[Size, ...], target: tuple[Size, ...]) -> Mapping[str, Size]:
    """What unknowns must be for both to be of one tensor."""
    return dims.equated(dims.product(sizes), dims.product(target))


@rule("Flatten")
def flatten(context: Context) -> None:
    """Flatten to two axes, cut at `axis`."""
    layout = context.input(0)
    axis = context.integer("axis", 1)
    axis = axis + layout.rank if axis < 0 else axis
    sizes = layout.sizes
    context.output(context.reshaped(layout, [dims.product(sizes[:axis]), dims.product(sizes[axis:])]))


@rule("Squeeze")
def squeeze(context: Context) -> None:
    """Squeeze axes of size 1; a channel axis of size 1 that goes must stay 1."""
    layout = context.input(0)
    axes = context.integer_list("axes")
    if axes is None:
        axes = context.integers(1)
    if axes is None:
        axes = [k for k, size in enumerate(layout.sizes) if size == 1]
    axes = [axis % layout.rank for axis in axes]
    context.output(drop_axes(_flattened(context, layout, axes), axes))


def _flattened(context: Context, layout: Layout, axes: list[int]) -> Layout:
    """Axes of size 1 without labels: a field that varies along others as well goes on along those."""
    fields = []
    for field in layout.fields:
        rest = narrowed(field, axes)
        if rest is None:
            context.pin(field.labels, "it is squeezed")
        else:
            context.row(rest.labels.ravel(), "it is squeezed")
            fields.append(rest)
    sizes = tuple(() if k in axes else factors for k, factors in enumerate(layout.axes))
    return Layout(sizes, tuple(fields), layout.why)


@rule("Unsqueeze")
def unsqueeze(context: Context) -> None:
    """Unsqueeze: new axes of size 1."""
    layout = context.input(0)
    axes = context.integer_list("axes")
    if axes is None:
        axes = context.integers(1) or []
    context.output(insert_axes(layout, [axis % (layout.rank + len(axes)) for axis in axes]))


@rule("Transpose")
def transpose(context: Context) -> None:
    """Transpose by `perm`; reversed axes where it is left out."""
    layout = context.input(0)
    context.output(permuted(layout, context.integer_list("perm") or list(range(layout.rank))[::-1]))


@rule("Expand")
def expand(context: Context) -> None:
    """Expand: an axis of size 1 is repeated; a 1 in the target keeps the axis.

    Copies along axis 1, where channels usually are, or along a vector are channels of their own: any of them may go.
    """
    layout = context.input(0)
    if is_fill(context.node.outputs[0]):
        context.output(context.filled(layout.why))
        return
    target = context.numbers(1)
    rank = max(layout.rank, len(target))
    layout = insert_axes(layout, range(rank - layout.rank))
    target = [*[1] * (rank - len(target)), *target]
    for axis, size in enumerate(target):
        if size in (1, layout.size(axis)) or (isinstance(size, Dim) and layout.size(axis) != 1):
            continue
        if layout.on(axis):
            layout = context.strip(layout, axis, "it is broadcast")
        axes = list(layout.axes)
        axes[axis] = factors_of(size)
        copies: tuple[Field, ...] = ()
        if axis == min(1, rank - 1) and isinstance(size, int):
            copies = (Field(((axis, 0),), context.fresh(size)),)
        layout = Layout(tuple(axes), (*layout.fields, *copies), layout.why)
    context.output(layout)


@rule("Tile")
def tile(context: Context) -> None:
    """Tile: an axis repeated as a whole."""
    layout = context.input(0)
    certain = context.numbers(1, certain=True)
    for axis, times in enumerate(context.numbers(1)):
        if times == 1:
            continue
        size = layout.size(axis)
        if isinstance(certain[axis], Dim) or isinstance(size, Dim):
            layout = context.fix(layout, axis, "channels are repeated an unknown number of times")
        if layout.on(axis):
            assert isinstance(times, int) and isinstance(size, int)
            layout = merge(layout, axis)
            layout = take(layout, axis, np.tile(np.arange(size), times))
            context.seam(layout, axis, range(size, size * times, size))
        else:
            axes = list(layout.axes)
            axes[axis] = factors_of(dims.multiply(layout.size(axis), times))
            layout = Layout(tuple(axes), layout.fields, layout.why)
    context.output(layout)


@rule("DepthToSpace")
def depth_to_space(context: Context) -> None:
    """DepthToSpace: [N, b*b*C, H, W] (DCR) or [N, C*b*b, H, W] (CRD) -> [N, C, H*b, W*b]; b*b go together."""
    layout = context.input(0)
    block = context.integer("blocksize", 1)
    batch, channels, height, width = layout.sizes
    depth = dims.divide(channels, block * block)
    if depth is None:
        raise Opaque("its blocks don't divide its channels")
    if context.attribute("mode", "DCR") == "CRD":
        split = context.reshaped(layout, [batch, depth, block, block, height, width])
        turned = permuted(split, [0, 1, 4, 2, 5, 3])
    else:
        split = context.reshaped(layout, [batch, block, block, depth, height, width])
        turned = permuted(split, [0, 3, 4, 1, 5, 2])
    for axis in range(2, 6):
        turned = context.fix(turned, axis, "it becomes a spatial axis")
    context.output(context.reshaped(turned, [batch, depth, dims.multiply(height, block), dims.multiply(width, block)]))


@rule("SpaceToDepth")
def space_to_depth(context: Context) -> None:
    """SpaceToDepth: [N, C, H*b, W*b] -> [N, b*b*C, H, W]; a channel is repeated b*b times."""
    layout = context.input(0)
    block = context.integer("blocksize", 1)
    for axis in (2, 3):
        layout = context.fix(layout, axis, "it becomes a channel axis")
    batch, channels, height, width = layout.sizes
    high, wide = dims.floor_divide(height, block), dims.floor_divide(width, block)
    axes = (layout.axes[0], layout.axes[1], factors_of(high), factors_of(block), factors_of(wide), factors_of(block))
    turned = permuted(Layout(axes, layout.fields, layout.why), [0, 3, 5, 1, 2, 4])
    context.output(context.reshaped(turned, [batch, dims.multiply(channels, block * block), high, wide]))
