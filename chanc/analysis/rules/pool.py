"""Pooling over windows or whole images (ONNX MaxPool, AveragePool, LpPool and their Global forms): channels stay."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from chanc.analysis.context import Context
from chanc.analysis.dims import window
from chanc.analysis.layout import Factors, Layout, factors_of, take
from chanc.analysis.rules import rule
from chanc.analysis.windows import padding


@rule("MaxPool", "AveragePool", "LpPool")
def pool(context: Context) -> None:
    """X [N, C, ...] -> [N, C, ...] with smaller spatial axes; windows may also run over channels that lie on one."""
    kernel = context.integer_list("kernel_shape") or []
    strides = context.integer_list("strides", [1] * len(kernel)) or []
    dilations = context.integer_list("dilations", [1] * len(kernel)) or []
    across = _neighbours(context, kernel, strides, dilations)
    if across is not None:
        context.output(across)
        return
    pads = context.integer_list("pads", [0] * 2 * len(kernel)) or []
    idle = {k + 2 for k, span in enumerate(kernel) if span == strides[k] == 1 and pads[k] == pads[k + len(kernel)] == 0}
    layout = _fixed(context, idle)
    ceil = bool(context.integer("ceil_mode", 0))
    spatial: list[Factors] = []
    for k, span in enumerate(kernel):
        if k + 2 in idle:
            spatial.append(layout.axes[k + 2])
            continue
        size = layout.size(k + 2)
        pad = padding(context, k, len(kernel), size, span)
        spatial.append(factors_of(window(size, span, strides[k], dilations[k], pad, ceil)))
    _emit(context, layout, spatial)


def _neighbours(context: Context, kernel: list[int], strides: list[int], dilations: list[int]) -> Layout | None:
    """Windows over neighbouring channels, and over nothing else (a local response norm as exporters write it)."""
    layout = context.input(0)
    wide = [k + 2 for k, span in enumerate(kernel) if span > 1]
    if len(wide) != 1 or not layout.on(wide[0]) or set(strides) != {1}:
        return None
    pads = context.integer_list("pads", [0] * 2 * len(kernel)) or []
    labels = context.project(layout, wide[0])
    padded = any(pads) or context.attribute("auto_pad", "NOTSET") != "NOTSET"
    if padded or labels is None or any(layout.on(k + 2) for k in range(len(kernel)) if k + 2 != wide[0]):
        return None
    context.mark_inexact(labels, "a window over neighbouring channels")
    reach = (kernel[wide[0] - 2] - 1) * dilations[wide[0] - 2]
    start, end = reach // 2, labels.size - (reach - reach // 2)
    # What is only looked at, from beside, must stay: the result doesn't tell that it is gone.
    context.pin(np.concatenate([labels[:start], labels[end:]]), "it is a margin of a pooled axis")
    return take(layout, wide[0], np.arange(start, end))


@rule("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(context: Context) -> None:
    """X [N, C, ...] -> [N, C, 1, ...]."""
    layout = _fixed(context)
    _emit(context, layout, [()] * (layout.rank - 2))


def _fixed(context: Context, idle: Collection[int] = ()) -> Layout:
    """The input with every pooled axis fixed; `idle` are those whose windows are 1 wide."""
    layout = context.input(0)
    for axis in (k for k in range(2, layout.rank) if k not in idle):
        layout = context.fix(layout, axis, "it varies along a pooled axis")
    return layout


def _emit(context: Context, layout: Layout, spatial: list[Factors]) -> None:
    axes = (*layout.axes[:2], *spatial)
    for index in range(len(context.node.outputs)):
        context.output(Layout(axes, layout.fields, layout.why), index)
