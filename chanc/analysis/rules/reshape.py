"""Operators that see the same values through other axes (ONNX Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand,
Tile, DepthToSpace, SpaceToDepth): executed on layouts."""

from __future__ import annotations

import numpy as np

from chanc.analysis import dims
from chanc.analysis.dims import Dim, Size
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
from chanc.analysis.sweep import Sweep


@rule("Reshape")
def reshape_to(sweep: Sweep) -> None:
    """Reshape: 0 copies a size (unless `allowzero`), -1 is what is left over."""
    layout = sweep.input(0)
    target = target_sizes(sweep, layout)
    if target is None:
        assert sweep.node is not None
        if layout.fields:
            raise Opaque("its target shape is computed while the model runs")
        sweep.output(sweep.declared(sweep.node.outputs[0]))
        return
    try:
        sweep.output(sweep.reshaped(layout, target))
    except Opaque:
        if layout.fields:
            raise
        sweep.output(plain(target, layout.why))


def target_sizes(sweep: Sweep, layout: Layout) -> list[Size] | None:
    """The sizes a Reshape asks for, all resolved; None where they aren't known."""
    given = sweep.integer_list("shape")
    if given is None:
        known = sweep.constant(1)
        if known is None:
            return None
        sizes: list[Size] = known.ravel().tolist()
    else:
        sizes = list(given)
    if not sweep.integer("allowzero", 0):
        sizes = [layout.size(k) if size == 0 else size for k, size in enumerate(sizes)]
    if -1 in sizes:
        rest = dims.divide(dims.product(layout.sizes), dims.product(size for size in sizes if size != -1))
        if rest is None:
            raise Opaque("the size left over (-1) is not a whole number")
        sizes = [rest if size == -1 else size for size in sizes]
    return sizes


@rule("Flatten")
def flatten(sweep: Sweep) -> None:
    """Flatten to two axes, cut at `axis`."""
    layout = sweep.input(0)
    axis = sweep.integer("axis", 1)
    axis = axis + layout.rank if axis < 0 else axis
    sizes = layout.sizes
    sweep.output(sweep.reshaped(layout, [dims.product(sizes[:axis]), dims.product(sizes[axis:])]))


@rule("Squeeze")
def squeeze(sweep: Sweep) -> None:
    """Squeeze axes of size 1; a channel axis of size 1 that goes must stay 1."""
    layout = sweep.input(0)
    axes = sweep.integer_list("axes")
    if axes is None:
        axes = sweep.integers(1)
    if axes is None:
        axes = [k for k, size in enumerate(layout.sizes) if size == 1]
    axes = [axis % layout.rank for axis in axes]
    sweep.output(drop_axes(_flattened(sweep, layout, axes), axes))


def _flattened(sweep: Sweep, layout: Layout, axes: list[int]) -> Layout:
    """Axes of size 1 without labels: a field that varies along others as well goes on along those."""
    fields = []
    for field in layout.fields:
        rest = narrowed(field, axes)
        if rest is None:
            sweep.pin(field.labels, "it is squeezed")
        else:
            sweep.row(rest.labels.ravel(), "it is squeezed")
            fields.append(rest)
    sizes = tuple(() if k in axes else factors for k, factors in enumerate(layout.axes))
    return Layout(sizes, tuple(fields), layout.why)


@rule("Unsqueeze")
def unsqueeze(sweep: Sweep) -> None:
    """Unsqueeze: new axes of size 1."""
    layout = sweep.input(0)
    axes = sweep.integer_list("axes")
    if axes is None:
        axes = sweep.integers(1) or []
    sweep.output(insert_axes(layout, [axis % (layout.rank + len(axes)) for axis in axes]))


@rule("Transpose")
def transpose(sweep: Sweep) -> None:
    """Transpose by `perm`; reversed axes where it is left out."""
    layout = sweep.input(0)
    sweep.output(permuted(layout, sweep.integer_list("perm") or list(range(layout.rank))[::-1]))


@rule("Expand")
def expand(sweep: Sweep) -> None:
    """Expand: an axis of size 1 is repeated; a 1 in the target keeps the axis.

    Copies along axis 1, where channels usually are, or along a vector are channels of their own: any of them may go.
    """
    layout = sweep.input(0)
    known = sweep.constant(1)
    if known is None:
        raise Opaque("its target shape is computed while the model runs")
    target: list[Size] = known.ravel().tolist()
    rank = max(layout.rank, len(target))
    layout = insert_axes(layout, range(rank - layout.rank))
    target = [*[1] * (rank - len(target)), *target]
    for axis, size in enumerate(target):
        if size == 1 or size == layout.size(axis):
            continue
        if layout.on(axis):
            layout = sweep.strip(layout, axis, "it is broadcast")
        axes = list(layout.axes)
        axes[axis] = factors_of(size)
        copies = (Field(((axis, 0),), sweep.fresh(size)),) if axis == min(1, rank - 1) and isinstance(size, int) else ()
        layout = Layout(tuple(axes), (*layout.fields, *copies), layout.why)
    sweep.output(layout)


@rule("Tile")
def tile(sweep: Sweep) -> None:
    """Tile: an axis repeated as a whole."""
    layout = sweep.input(0)
    known = sweep.constant(1)
    if known is None:
        raise Opaque("its repeats are computed while the model runs")
    for axis, times in enumerate(known.ravel().tolist()):
        if times == 1:
            continue
        if layout.on(axis):
            size = merge(layout, axis).size(axis)
            if isinstance(times, Dim) or isinstance(size, Dim):
                raise Opaque("channels are repeated an unknown number of times")
            layout = take(layout, axis, np.tile(np.arange(size), times))
            sweep.seam(layout, axis, range(size, size * times, size))
        else:
            axes = list(layout.axes)
            axes[axis] = factors_of(dims.multiply(layout.size(axis), times))
            layout = Layout(tuple(axes), layout.fields, layout.why)
    sweep.output(layout)


@rule("DepthToSpace")
def depth_to_space(sweep: Sweep) -> None:
    """DepthToSpace: [N, b*b*C, H, W] (DCR) or [N, C*b*b, H, W] (CRD) -> [N, C, H*b, W*b]; b*b go together."""
    layout = sweep.input(0)
    block = sweep.integer("blocksize", 1)
    batch, channels, height, width = layout.sizes
    depth = dims.divide(channels, block * block)
    if depth is None:
        raise Opaque("its blocks don't divide its channels")
    if sweep.attribute("mode", "DCR") == "CRD":
        split = sweep.reshaped(layout, [batch, depth, block, block, height, width])
        turned = permuted(split, [0, 1, 4, 2, 5, 3])
    else:
        split = sweep.reshaped(layout, [batch, block, block, depth, height, width])
        turned = permuted(split, [0, 3, 4, 1, 5, 2])
    for axis in range(2, 6):
        turned = sweep.fix(turned, axis, "it becomes a spatial axis")
    sweep.output(sweep.reshaped(turned, [batch, depth, dims.multiply(height, block), dims.multiply(width, block)]))


@rule("SpaceToDepth")
def space_to_depth(sweep: Sweep) -> None:
    """SpaceToDepth: [N, C, H*b, W*b] -> [N, b*b*C, H, W]; a channel is repeated b*b times."""
    layout = sweep.input(0)
    block = sweep.integer("blocksize", 1)
    for axis in (2, 3):
        layout = sweep.fix(layout, axis, "it becomes a channel axis")
    batch, channels, height, width = layout.sizes
    high, wide = dims.floor_divide(height, block), dims.floor_divide(width, block)
    axes = (layout.axes[0], layout.axes[1], factors_of(high), factors_of(block), factors_of(wide), factors_of(block))
    turned = permuted(Layout(axes, layout.fields, layout.why), [0, 3, 5, 1, 2, 4])
    sweep.output(sweep.reshaped(turned, [batch, dims.multiply(channels, block * block), high, wide]))
