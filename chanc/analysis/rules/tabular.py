"""Columns of a table made alike before a network (ai.onnx.ml Scaler, Normalizer): their number stays."""

from __future__ import annotations

from chanc.analysis.context import Context
from chanc.analysis.rules import rule


@rule("Scaler", "Normalizer", domain="ai.onnx.ml")
def columns(context: Context) -> None:
    """X [N, C] or [C] -> the same of floats; a Scaler holds an offset and a factor for each column."""
    layout = context.input(0)
    context.output(context.fix(layout, layout.rank - 1, f"{context.node.op_type} has numbers for each column"))
