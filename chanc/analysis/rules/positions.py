"""Operators whose results are positions, counts or windows, or that need whole axes (ONNX NonZero, Unique, Compress,
OneHot, EyeLike, Trilu, Det, NonMaxSuppression, DFT, STFT, ...): the axes they look at keep their sizes."""

from __future__ import annotations

import numpy as np

from chanc.analysis.dims import Size
from chanc.analysis.layout import Layout, Opaque, drop_axes, insert_axes, plain, take
from chanc.analysis.rules import rule
from chanc.analysis.rules.vision import fixed, made, unlabelled, with_axes
from chanc.analysis.sweep import Sweep

POSITIONS = "positions on this axis come out"


def _all_fixed(sweep: Sweep, index: int, reason: str) -> Layout:
    layout = sweep.input(index)
    return fixed(sweep, layout, range(layout.rank), reason)


@rule("NonZero")
def non_zero(sweep: Sweep) -> None:
    """NonZero: [rank, count]."""
    sweep.output(plain([_all_fixed(sweep, 0, POSITIONS).rank, made(sweep, 1)], "positions"))


@rule("NonMaxSuppression")
def non_max_suppression(sweep: Sweep) -> None:
    """NonMaxSuppression: [count, 3] of boxes [N, boxes, 4] and scores [N, classes, boxes]."""
    for index in (0, 1):
        _all_fixed(sweep, index, POSITIONS)
    sweep.output(plain([made(sweep, 0), 3], "positions"))


@rule("Unique")
def unique(sweep: Sweep) -> None:
    """Unique values, or unique slices along an axis, and where they are."""
    assert sweep.node is not None
    layout = sweep.input(0)
    given = sweep.attribute("axis")
    axes = range(layout.rank) if given is None else [sweep.integer("axis", 0) % layout.rank]
    layout = fixed(sweep, layout, axes, POSITIONS)
    for index in range(len(sweep.node.outputs)):
        whole = index == 0 and given is not None
        sweep.output(with_axes(layout, {axes[0]: made(sweep, 0)}) if whole else plain([made(sweep, index)]), index)


@rule("Compress")
def compress(sweep: Sweep) -> None:
    """Compress: the chosen slices of an axis, or of the flattened input; by a constant mask channels are taken."""
    layout = sweep.input(0)
    unlabelled(sweep, 1, POSITIONS)
    if sweep.attribute("axis") is None:
        _all_fixed(sweep, 0, "some of it is chosen")
        sweep.output(plain([made(sweep, 0)], "chosen values"))
        return
    axis = sweep.integer("axis", 0) % layout.rank
    known, size = sweep.constant(1), layout.size(axis)
    if known is not None and isinstance(size, int) and layout.on(axis):
        chosen = take(layout, axis, np.flatnonzero(known[:size]))
        sweep.segment(chosen, axis)
        sweep.output(chosen)
        return
    sweep.output(with_axes(sweep.fix(layout, axis, "some of it is chosen"), {axis: made(sweep, axis)}))


@rule("OneHot")
def one_hot(sweep: Sweep) -> None:
    """OneHot: a new axis of `depth`; the others are those of the indices."""
    layout = sweep.input(0)
    axis = sweep.integer("axis", -1) % (layout.rank + 1)
    known = sweep.constant(1)
    depth: Size = int(known.ravel()[0]) if known is not None and known.dtype != object else made(sweep, axis)
    sweep.output(with_axes(insert_axes(layout, [axis]), {axis: depth}))


@rule("EyeLike")
def eye_like(sweep: Sweep) -> None:
    """EyeLike: ones on a diagonal, of the input's shape."""
    sweep.output(_all_fixed(sweep, 0, "its shape is read"))


@rule("Trilu")
def trilu(sweep: Sweep) -> None:
    """Trilu: a triangle of the last two axes."""
    layout = sweep.input(0)
    sweep.output(fixed(sweep, layout, (layout.rank - 2, layout.rank - 1), "a triangle of it is kept"))


@rule("Det")
def det(sweep: Sweep) -> None:
    """Det: [..., M, M] -> [...]."""
    layout = sweep.input(0)
    last = [layout.rank - 2, layout.rank - 1]
    sweep.output(drop_axes(fixed(sweep, layout, last, "its determinant is taken"), last))


@rule("DFT")
def dft(sweep: Sweep) -> None:
    """DFT along one axis (an input since opset 20); the last axis holds real and imaginary part."""
    layout = sweep.input(0)
    default = 1 if sweep.opset < 20 else -2
    given = sweep.integers(2) if sweep.opset >= 20 else None
    axis = (given[0] if given else sweep.integer("axis", default)) % layout.rank
    layout = fixed(sweep, layout, (axis, layout.rank - 1), "it is transformed along this axis")
    whole = not sweep.integer("onesided", 0) and sweep.value(1) is None
    parts = 1 if sweep.integer("inverse", 0) and sweep.integer("onesided", 0) else 2
    sweep.output(with_axes(layout, {axis: layout.size(axis) if whole else made(sweep, axis), layout.rank - 1: parts}))


@rule("STFT")
def stft(sweep: Sweep) -> None:
    """STFT: a signal [N, length, 1 or 2] -> [N, frames, frequencies, 2]."""
    layout = _all_fixed(sweep, 0, "it is transformed along this axis")
    unlabelled(sweep, 2, "it is a window")
    sweep.output(plain([layout.size(0), made(sweep, 1), made(sweep, 2), 2], "a spectrum"))


@rule("HannWindow", "HammingWindow", "BlackmanWindow")
def window(sweep: Sweep) -> None:
    """A window function of a given length."""
    known = sweep.constant(0)
    whole = known is not None and known.dtype != object
    sweep.output(plain([int(known.ravel()[0]) if known is not None and whole else made(sweep, 0)], "a window"))


@rule("MelWeightMatrix")
def mel_weight_matrix(sweep: Sweep) -> None:
    """MelWeightMatrix: [dft_length / 2 + 1, mel bins]."""
    bins, length = sweep.constant(0), sweep.constant(1)
    if bins is None or length is None or bins.dtype == object or length.dtype == object:
        raise Opaque("its sizes are computed while the model runs")
    sweep.output(plain([int(length.ravel()[0]) // 2 + 1, int(bins.ravel()[0])], "a filter bank"))


@rule("Multinomial")
def multinomial(sweep: Sweep) -> None:
    """Multinomial: samples [N, sample_size] of classes [N, classes]."""
    layout = _all_fixed(sweep, 0, POSITIONS)
    sweep.output(plain([layout.size(0), sweep.integer("sample_size", 1)], "samples"))
