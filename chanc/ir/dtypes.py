"""Data types by what they may hold."""

from __future__ import annotations

import onnx_ir as ir

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})
"""What weights are trained in."""

CHANNEL_TYPES = FLOATS | {ir.DataType.INT8, ir.DataType.UINT8}
"""What channels are made of: wider integers are positions and counts."""
