"""Along which axis a value has its channels, and which units they are."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from chanc.analysis import Analysis
from chanc.analysis.disjoint_set import IntArray
from chanc.analysis.layout import axis_labels, merge


def line_of(analysis: Analysis, value: ir.Value) -> tuple[int, IntArray] | None:
    """The axis along which a value has its channels, and their labels: [size]; None where it isn't one axis."""
    layout = analysis.findings.layouts.get(value)
    axes = {axis for field in layout.fields for axis in field.axes} if layout is not None else set()
    if layout is None or len(axes) != 1:
        return None
    (axis,) = axes
    fields = merge(layout, axis).on(axis)
    return (axis, axis_labels(fields[0], axis)[:, 0]) if len(fields) == 1 else None


def units_of(analysis: Analysis, value: ir.Value) -> IntArray:
    """The units of a value, sorted."""
    fields = analysis.findings.fields_of(value)
    labels = [np.empty(0, dtype=np.int64), *(part.labels.ravel() for part in fields)]
    return np.unique(analysis.units.unit[np.concatenate(labels)])


def line(analysis: Analysis, value: ir.Value | None) -> IntArray:
    """The units along the axis of a value with channels: [size]."""
    found = line_of(analysis, value) if value is not None else None
    return np.empty(0, dtype=np.int64) if found is None else analysis.units.unit[found[1]]
