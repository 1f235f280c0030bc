"""Pooling over windows or whole images (ONNX MaxPool, AveragePool, LpPool and their Global forms): channels stay."""

from __future__ import annotations

from chanc.analysis.dims import Size, window
from chanc.analysis.layout import Layout, factors_of
from chanc.analysis.rules import rule
from chanc.analysis.rules.conv import padding
from chanc.analysis.sweep import Sweep


@rule("MaxPool", "AveragePool", "LpPool")
def pool(sweep: Sweep) -> None:
    """X [N, C, ...] -> [N, C, ...] with smaller spatial axes."""
    layout = _fixed(sweep)
    kernel = sweep.integer_list("kernel_shape") or []
    strides = sweep.integer_list("strides", [1] * len(kernel)) or []
    dilations = sweep.integer_list("dilations", [1] * len(kernel)) or []
    ceil = bool(sweep.integer("ceil_mode", 0))
    spatial = []
    for k, span in enumerate(kernel):
        size = layout.size(k + 2)
        pad = padding(sweep, k, len(kernel), size, span)
        spatial.append(window(size, span, strides[k], dilations[k], pad, ceil))
    _emit(sweep, layout, spatial)


@rule("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(sweep: Sweep) -> None:
    """X [N, C, ...] -> [N, C, 1, ...]."""
    layout = _fixed(sweep)
    _emit(sweep, layout, [1] * (layout.rank - 2))


def _fixed(sweep: Sweep) -> Layout:
    layout = sweep.input(0)
    for axis in range(2, layout.rank):
        layout = sweep.fix(layout, axis, "it varies along a pooled axis")
    return layout


def _emit(sweep: Sweep, layout: Layout, spatial: list[Size]) -> None:
    assert sweep.node is not None
    axes = (*layout.axes[:2], *(factors_of(size) for size in spatial))
    for index in range(len(sweep.node.outputs)):
        sweep.output(Layout(axes, layout.fields, layout.why), index)
