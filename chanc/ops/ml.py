"""Preparation of features as scikit-learn exports it, in front of a network (ONNX's ai.onnx.ml)."""

from __future__ import annotations

from chanc.ops.elementwise import CURVE, POINT
from chanc.ops.spec import Trait
from chanc.ops.table import operator
from chanc.ops.work import free, normalisation

ML = "ai.onnx.ml"

operator("Scaler", domain=ML, traits=POINT, weights=(), divisors=(), work=free)
operator("Binarizer", "Imputer", domain=ML, traits=CURVE, weights=(), divisors=(), work=free)
operator(
    "Normalizer", domain=ML, traits={Trait.NORM, Trait.RANK, Trait.CURVED}, weights=(), divisors=(), work=normalisation
)
