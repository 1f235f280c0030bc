"""Sampling of images and regions (ONNX GridSample, RoiAlign, AffineGrid, Col2Im, MaxUnpool, ...)."""

from __future__ import annotations

from chanc.ops.table import operator
from chanc.ops.work import free

operator(
    "AffineGrid", "CenterCropPad", "Col2Im", "GridSample", "MaxRoiPool", "MaxUnpool", "ReverseSequence", "RoiAlign",
    traits=(), weights=(), divisors=(), work=free,
)  # fmt: skip
