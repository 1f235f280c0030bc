"""Sampling and sliding windows (ONNX GridSample, AffineGrid, RoiAlign, MaxRoiPool, MaxUnpool, Col2Im, DeformConv,
CenterCropPad, ReverseSequence): channels stay, all other axes keep their meaning."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chanc.analysis import dims
from chanc.analysis.dims import Size, unknown
from chanc.analysis.layout import Layout, Opaque, factors_of, plain
from chanc.analysis.rules import rule
from chanc.analysis.sweep import Sweep


def fixed(sweep: Sweep, layout: Layout, axes: Iterable[int], reason: str) -> Layout:
    """The layout with axes that keep their sizes."""
    for axis in axes:
        layout = sweep.fix(layout, axis, reason)
    return layout


def unlabelled(sweep: Sweep, index: int, reason: str) -> Layout | None:
    """An input whose axes all keep their sizes; None where it is left out."""
    if sweep.value(index) is None:
        return None
    layout = sweep.parameter(index, ()) if sweep.is_parameter(index) else sweep.input(index)
    return fixed(sweep, layout, range(layout.rank), reason)


def made(sweep: Sweep, axis: int) -> Size:
    """A size that is named after the node's first output."""
    assert sweep.node is not None
    return unknown(f"{sweep.node.outputs[0].name}.{axis}")


def with_axes(layout: Layout, sizes: dict[int, Size]) -> Layout:
    """The layout with other sizes on axes without labels."""
    axes = [factors_of(sizes[k]) if k in sizes else factors for k, factors in enumerate(layout.axes)]
    return Layout(tuple(axes), layout.fields, layout.why)


@rule("GridSample")
def grid_sample(sweep: Sweep) -> None:
    """GridSample: X [N, C, ...] at grid [N, ..., 2 or 3] -> [N, C, ...]."""
    data = sweep.input(0)
    data = fixed(sweep, data, (0, *range(2, data.rank)), "it is sampled along this axis")
    grid = unlabelled(sweep, 1, "its values are positions")
    assert grid is not None
    sweep.output(with_axes(data, {k: grid.size(k - 1) for k in range(2, data.rank)}))


@rule("AffineGrid")
def affine_grid(sweep: Sweep) -> None:
    """AffineGrid: theta [N, 2, 3] and a size -> [N, H, W, 2]."""
    theta = unlabelled(sweep, 0, "its values are positions")
    known = sweep.constant(1)
    if known is None or theta is None:
        raise Opaque("its size is computed while the model runs")
    sizes = known.ravel().tolist()
    sweep.output(plain([sizes[0], *sizes[2:], len(sizes) - 2], "a grid"))


@rule("RoiAlign", "MaxRoiPool")
def roi_align(sweep: Sweep) -> None:
    """RoiAlign, MaxRoiPool: X [N, C, H, W] and rois [R, 4 or 5] -> [R, C, h, w]."""
    data = fixed(sweep, sweep.input(0), (0, 2, 3), "it is sampled along this axis")
    rois = unlabelled(sweep, 1, "its values are positions")
    unlabelled(sweep, 2, "its values are positions")
    shape = sweep.integer_list("pooled_shape")
    high, wide = shape or (sweep.integer("output_height", 1), sweep.integer("output_width", 1))
    sweep.output(with_axes(data, {0: rois.size(0) if rois is not None else made(sweep, 0), 2: high, 3: wide}))


@rule("MaxUnpool")
def max_unpool(sweep: Sweep) -> None:
    """MaxUnpool: values and positions [N, C, ...] as MaxPool gives them -> [N, C, ...]; positions run over channels."""
    layout = sweep.together([sweep.input(0), sweep.input(1)])
    layout = fixed(sweep, layout, [k for k in range(layout.rank) if k != 1], "it is unpooled")
    known = sweep.constant(2) if sweep.value(2) is not None else None
    if sweep.value(2) is not None and known is None:
        raise Opaque("its output shape is computed while the model runs")
    kernel = sweep.integer_list("kernel_shape") or []
    strides = sweep.integer_list("strides", [1] * len(kernel)) or []
    pads = sweep.integer_list("pads", [0] * 2 * len(kernel)) or []
    sizes: dict[int, Size] = {}
    for k, span in enumerate(kernel):
        before = dims.multiply(dims.add(layout.size(k + 2), -1), strides[k])
        computed = dims.add(before, span - pads[k] - pads[k + len(kernel)])
        sizes[k + 2] = known.ravel().tolist()[k + 2] if known is not None else computed
    sweep.output(with_axes(layout, sizes))


@rule("Col2Im")
def col2im(sweep: Sweep) -> None:
    """Col2Im: [N, C * block, L] -> [N, C, ...image]; the block of a channel goes with it."""
    layout = sweep.fix(sweep.input(0), 2, "its columns are summed")
    image, block = sweep.integers(1), sweep.integers(2)
    span = int(np.prod(block or [1]))
    depth = dims.divide(layout.size(1), span)
    if image is None or depth is None:
        raise Opaque("its blocks don't divide its channels")
    batch, _, length = layout.sizes
    split = sweep.fix(sweep.reshaped(layout, [batch, depth, span, length]), 2, "its columns are summed")
    axes = (*split.axes[:2], *(factors_of(n) for n in image))
    sweep.output(Layout(axes, split.fields, split.why))


@rule("CenterCropPad")
def center_crop_pad(sweep: Sweep) -> None:
    """CenterCropPad: the axes that are cropped or padded keep their sizes."""
    layout = sweep.input(0)
    axes = sweep.integer_list("axes") or list(range(layout.rank))
    axes = [axis % layout.rank for axis in axes]
    layout = fixed(sweep, layout, axes, "it is cropped to a size")
    known = sweep.constant(1)
    sizes = known.ravel().tolist() if known is not None else [made(sweep, axis) for axis in axes]
    sweep.output(with_axes(layout, dict(zip(axes, sizes, strict=True))))


@rule("ReverseSequence")
def reverse_sequence(sweep: Sweep) -> None:
    """ReverseSequence: time and batch keep their sizes."""
    layout = sweep.input(0)
    unlabelled(sweep, 1, "its values are lengths")
    axes = [sweep.integer("time_axis", 0), sweep.integer("batch_axis", 1)]
    sweep.output(fixed(sweep, layout, [axis % layout.rank for axis in axes], "it is turned round along this axis"))
