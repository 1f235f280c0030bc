"""Sampling and sliding windows (ONNX GridSample, AffineGrid, RoiAlign, MaxRoiPool, MaxUnpool, Col2Im, DeformConv,
CenterCropPad, ReverseSequence): channels stay, all other axes keep their meaning."""

from __future__ import annotations

import numpy as np

from chanc.analysis import dims
from chanc.analysis.context import Context
from chanc.analysis.dims import Size
from chanc.analysis.layout import Layout, Opaque, factors_of, plain, with_axes
from chanc.analysis.operands import fixed, unlabelled
from chanc.analysis.rules import rule


@rule("GridSample")
def grid_sample(context: Context) -> None:
    """GridSample: X [N, C, ...] at grid [N, ..., 2 or 3] -> [N, C, ...]."""
    data = context.input(0)
    data = fixed(context, data, (0, *range(2, data.rank)), "it is sampled along this axis")
    grid = unlabelled(context, 1, "its values are positions")
    assert grid is not None
    context.output(with_axes(data, {k: grid.size(k - 1) for k in range(2, data.rank)}))


@rule("AffineGrid")
def affine_grid(context: Context) -> None:
    """AffineGrid: theta [N, 2, 3] and a size -> [N, H, W, 2]."""
    theta = unlabelled(context, 0, "its values are positions")
    known = context.constant(1)
    sizes = known.ravel().tolist() if known is not None else []
    if theta is None or len(sizes) < 3 or not all(isinstance(size, int | dims.Dim) for size in sizes):
        raise Opaque("its size is computed while the model runs")
    context.output(plain([sizes[0], *sizes[2:], len(sizes) - 2], "a grid"))


@rule("RoiAlign", "MaxRoiPool")
def roi_align(context: Context) -> None:
    """RoiAlign, MaxRoiPool: X [N, C, H, W] and rois [R, 4 or 5] -> [R, C, h, w]."""
    data = fixed(context, context.input(0), (0, 2, 3), "it is sampled along this axis")
    rois = unlabelled(context, 1, "its values are positions")
    unlabelled(context, 2, "its values are positions")
    shape = context.integer_list("pooled_shape")
    high, wide = shape or (context.integer("output_height", 1), context.integer("output_width", 1))
    count = rois.size(0) if rois is not None else context.unknown_size(0)
    context.output(with_axes(data, {0: count, 2: high, 3: wide}))


@rule("MaxUnpool")
def max_unpool(context: Context) -> None:
    """MaxUnpool: values and positions [N, C, ...] as MaxPool gives them -> [N, C, ...]; positions run over channels."""
    layout = context.together([context.input(0), context.input(1)])
    layout = fixed(context, layout, [k for k in range(layout.rank) if k != 1], "it is unpooled")
    known = context.constant(2) if context.value(2) is not None else None
    if context.value(2) is not None and known is None:
        raise Opaque("its output shape is computed while the model runs")
    kernel = context.integer_list("kernel_shape") or []
    strides = context.integer_list("strides", [1] * len(kernel)) or []
    pads = context.integer_list("pads", [0] * 2 * len(kernel)) or []
    sizes: dict[int, Size] = {}
    for k, span in enumerate(kernel):
        before = dims.multiply(dims.add(layout.size(k + 2), -1), strides[k])
        computed = dims.add(before, span - pads[k] - pads[k + len(kernel)])
        sizes[k + 2] = known.ravel().tolist()[k + 2] if known is not None else computed
    context.output(with_axes(layout, sizes))


@rule("Col2Im")
def col2im(context: Context) -> None:
    """Col2Im: [N, C * block, L] -> [N, C, ...image]; the block of a channel goes with it."""
    layout = context.fix(context.input(0), 2, "its columns are summed")
    image, block = context.integers(1), context.integers(2)
    span = int(np.prod(block or [1]))
    depth = dims.divide(layout.size(1), span)
    if image is None or depth is None:
        raise Opaque("its blocks don't divide its channels")
    batch, _, length = layout.sizes
    split = context.fix(context.reshaped(layout, [batch, depth, span, length]), 2, "its columns are summed")
    axes = (*split.axes[:2], *(factors_of(n) for n in image))
    context.output(Layout(axes, split.fields, split.why))


@rule("CenterCropPad")
def center_crop_pad(context: Context) -> None:
    """CenterCropPad: the axes that are cropped or padded keep their sizes."""
    layout = context.input(0)
    axes = context.integer_list("axes") or list(range(layout.rank))
    axes = [axis % layout.rank for axis in axes]
    layout = fixed(context, layout, axes, "it is cropped to a size")
    known = context.constant(1)
    sizes = known.ravel().tolist() if known is not None else [context.unknown_size(axis) for axis in axes]
    context.output(with_axes(layout, dict(zip(axes, sizes, strict=True))))


@rule("ReverseSequence")
def reverse_sequence(context: Context) -> None:
    """ReverseSequence: time and batch keep their sizes."""
    layout = context.input(0)
    unlabelled(context, 1, "its values are lengths")
    axes = [context.integer("time_axis", 0), context.integer("batch_axis", 1)]
    context.output(fixed(context, layout, [axis % layout.rank for axis in axes], "it is turned round along this axis"))
