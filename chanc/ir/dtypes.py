"""Data types by what they may hold."""

from __future__ import annotations

import onnx_ir as ir

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})
"""What weights are trained in."""

CHANNEL_TYPES = FLOATS | {ir.DataType.INT8, ir.DataType.UINT8}
"""What channels are made of: wider integers are positions and counts."""

QUANTISED = frozenset({
    ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.FLOAT8E4M3FN,
    ir.DataType.FLOAT8E4M3FNUZ, ir.DataType.FLOAT8E5M2, ir.DataType.FLOAT8E5M2FNUZ, ir.DataType.FLOAT4E2M1,
})  # fmt: skip
"""What weights are quantised to; biases are, to INT32 as well."""
