"""Operators whose results are positions, counts or windows, or that need whole axes (ONNX NonZero, Unique, Compress,
OneHot, EyeLike, Trilu, Det, NonMaxSuppression, DFT, STFT, ...): the axes they look at keep their sizes."""

from __future__ import annotations

import numpy as np

from chanc.analysis.context import Context
from chanc.analysis.dims import Size
from chanc.analysis.layout import Layout, Opaque, drop_axes, insert_axes, plain, take, with_axes
from chanc.analysis.operands import fixed, unlabelled
from chanc.analysis.rules import rule

POSITIONS = "positions on this axis come out"


def _all_fixed(context: Context, index: int, reason: str) -> Layout:
    layout = context.input(index)
    return fixed(context, layout, range(layout.rank), reason)


@rule("NonZero")
def non_zero(context: Context) -> None:
    """NonZero: [rank, count]."""
    context.output(plain([_all_fixed(context, 0, POSITIONS).rank, context.unknown_size(1)], "positions"))


@rule("NonMaxSuppression")
def non_max_suppression(context: Context) -> None:
    """NonMaxSuppression: [count, 3] of boxes [N, boxes, 4] and scores [N, classes, boxes]."""
    for index in (0, 1):
        _all_fixed(context, index, POSITIONS)
    context.output(plain([context.unknown_size(0), 3], "positions"))


@rule("Unique")
def unique(context: Context) -> None:
    """Unique values, or unique slices along an axis, and where they are."""
    layout = context.input(0)
    given = context.attribute("axis")
    axes = range(layout.rank) if given is None else [context.integer("axis", 0) % layout.rank]
    layout = fixed(context, layout, axes, POSITIONS)
    for index in range(len(context.node.outputs)):
        size = context.unknown_size(index)
        whole = index == 0 and given is not None
        context.output(with_axes(layout, {axes[0]: size}) if whole else plain([size]), index)


@rule("Compress")
def compress(context: Context) -> None:
    """Compress: the chosen slices of an axis, or of the flattened input; by a constant mask channels are taken."""
    layout = context.input(0)
    unlabelled(context, 1, POSITIONS)
    if context.attribute("axis") is None:
        _all_fixed(context, 0, "some of it is chosen")
        context.output(plain([context.unknown_size(0)], "chosen values"))
        return
    axis = context.integer("axis", 0) % layout.rank
    known, size = context.certain(1), layout.size(axis)
    if known is not None and isinstance(size, int) and layout.on(axis):
        chosen = take(layout, axis, np.flatnonzero(known[:size]))
        context.segment(chosen, axis)
        context.output(chosen)
        return
    context.output(with_axes(context.fix(layout, axis, "some of it is chosen"), {axis: context.unknown_size(axis)}))


@rule("OneHot")
def one_hot(context: Context) -> None:
    """OneHot: a new axis of `depth`; the others are those of the indices."""
    layout = context.input(0)
    axis = context.integer("axis", -1) % (layout.rank + 1)
    known = context.constant(1)
    depth: Size = int(known.ravel()[0]) if known is not None and known.dtype != object else context.unknown_size(axis)
    context.output(with_axes(insert_axes(layout, [axis]), {axis: depth}))


@rule("EyeLike")
def eye_like(context: Context) -> None:
    """EyeLike: ones on a diagonal, of the input's shape."""
    context.output(_all_fixed(context, 0, "its shape is read"))


@rule("Trilu")
def trilu(context: Context) -> None:
    """Trilu: a triangle of the last two axes."""
    layout = context.input(0)
    context.output(fixed(context, layout, (layout.rank - 2, layout.rank - 1), "a triangle of it is kept"))


@rule("Det")
def det(context: Context) -> None:
    """Det: [..., M, M] -> [...]."""
    layout = context.input(0)
    last = [layout.rank - 2, layout.rank - 1]
    context.output(drop_axes(fixed(context, layout, last, "its determinant is taken"), last))


@rule("DFT")
def dft(context: Context) -> None:
    """DFT along one axis (an input since opset 20); the last axis holds real and imaginary part."""
    layout = context.input(0)
    default = 1 if context.opset < 20 else -2
    given = context.integers(2) if context.opset >= 20 else None
    axis = (given[0] if given else context.integer("axis", default)) % layout.rank
    layout = fixed(context, layout, (axis, layout.rank - 1), "it is transformed along this axis")
    whole = not context.integer("onesided", 0) and context.value(1) is None
    parts = 1 if context.integer("inverse", 0) and context.integer("onesided", 0) else 2
    frequencies = layout.size(axis) if whole else context.unknown_size(axis)
    context.output(with_axes(layout, {axis: frequencies, layout.rank - 1: parts}))


@rule("STFT")
def stft(context: Context) -> None:
    """STFT: a signal [N, length, 1 or 2] -> [N, frames, frequencies, 2]."""
    layout = _all_fixed(context, 0, "it is transformed along this axis")
    unlabelled(context, 2, "it is a window")
    context.output(plain([layout.size(0), context.unknown_size(1), context.unknown_size(2), 2], "a spectrum"))


@rule("HannWindow", "HammingWindow", "BlackmanWindow")
def window(context: Context) -> None:
    """A window function of a given length."""
    known = context.constant(0)
    told = known is not None and known.dtype != object
    length = int(known.ravel()[0]) if known is not None and told else context.unknown_size(0)
    context.output(plain([length], "a window"))


@rule("MelWeightMatrix")
def mel_weight_matrix(context: Context) -> None:
    """MelWeightMatrix: [dft_length / 2 + 1, mel bins]."""
    bins, length = context.constant(0), context.constant(1)
    if bins is None or length is None or bins.dtype == object or length.dtype == object:
        raise Opaque("its sizes are computed while the model runs")
    context.output(plain([int(length.ravel()[0]) // 2 + 1, int(bins.ravel()[0])], "a filter bank"))


@rule("Multinomial")
def multinomial(context: Context) -> None:
    """Multinomial: samples [N, sample_size] of classes [N, classes]."""
    layout = _all_fixed(context, 0, POSITIONS)
    context.output(plain([layout.size(0), context.integer("sample_size", 1)], "samples"))
