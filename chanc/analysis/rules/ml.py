"""Preparation of features (ONNX's ai.onnx.ml: Scaler, Imputer, Binarizer, Normalizer): each stays where it is."""

from __future__ import annotations

from chanc.analysis.context import Context
from chanc.analysis.grouping import normalise
from chanc.analysis.rules import rule

ML = "ai.onnx.ml"
BY_FEATURE = ("offset", "scale", "imputed_value_floats", "imputed_value_int64s")
"""Attributes with one value, or one a feature."""


@rule("Scaler", "Imputer", "Binarizer", domain=ML)
def features(context: Context) -> None:
    """X [N, F], one value a feature; features that have values of their own in an attribute stay."""
    layout = context.input(0)
    values = [context.attribute(name) for name in BY_FEATURE]
    if any(isinstance(held, (list, tuple)) and len(held) > 1 for held in values):
        layout = context.fix(layout, layout.rank - 1, "an attribute holds a value for each")
    context.output(layout)


@rule("Normalizer", domain=ML)
def normalizer(context: Context) -> None:
    """Normalizer: each row by its largest value, its sum or its length."""
    layout = context.input(0)
    normalise(context, layout, [layout.rank - 1])
    context.output(layout)
