"""Operators by what they do to weights, where rules ask."""

from __future__ import annotations

import onnx_ir as ir

CUTTERS = ("Gather", "Slice", "Split")
ADDITIVE = ("Add", "Concat", "Mean", "Sub", "Sum", "Where")
CURVED = (
    "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "Log", "Max", "Min", "Pow", "QuantizeLinear",
    "Reciprocal", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softmax", "Sqrt", "Tanh",
)  # fmt: skip
"""What a weight must not pass before it is divided among the copies of a channel: f(w / 2) is not f(w) / 2."""
FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
CHANNEL_TYPES = {*FLOATS, ir.DataType.INT8, ir.DataType.UINT8}
