"""Tensors made from sizes alone, and noise (ONNX Constant, ConstantOfShape, Range, Shape, Size, Random*, Bernoulli)."""

from __future__ import annotations

from chanc.ops.spec import Trait
from chanc.ops.table import operator

operator("Constant", "ConstantOfShape", "Range", "Shape", "Size", traits=(), weights=(), divisors=())
operator(
    "Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    traits={Trait.RANDOM}, weights=(), divisors=(),
)  # fmt: skip
