"""Sampling of images and regions (ONNX GridSample, RoiAlign, AffineGrid, Col2Im, MaxUnpool, ...)."""

from __future__ import annotations

from chanc.ops.table import operator

operator(
    "AffineGrid", "CenterCropPad", "Col2Im", "GridSample", "MaxRoiPool", "MaxUnpool", "ReverseSequence", "RoiAlign",
    traits=(), weights=(), divisors=(),
)  # fmt: skip
