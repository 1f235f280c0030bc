"""Tensors made from sizes alone, and noise (ONNX Constant, ConstantOfShape, Range, Shape, Size, Random*, Bernoulli)."""

from __future__ import annotations

from chanc.ops.spec import Trait
from chanc.ops.table import operator
from chanc.ops.work import free

operator("Constant", "ConstantOfShape", "Range", "Shape", "Size", traits=(), weights=(), divisors=(), work=free)
operator(
    "Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    traits={Trait.RANDOM}, weights=(), divisors=(), work=free,
)  # fmt: skip
