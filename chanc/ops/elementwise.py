"""Arithmetic, comparisons and functions of single elements (ONNX's elementwise operators), activations apart.

An operand of Add, Sub, Mul or Div may be a trained vector: a bias, the scale of a norm that was taken apart.
"""

from __future__ import annotations

from chanc.ops.spec import Trait, Weight
from chanc.ops.table import operator
from chanc.ops.work import free

POINT = {Trait.ELEMENTWISE, Trait.CHANNELWISE, Trait.RANK}
MANY = {*POINT, Trait.BROADCAST}
CURVE = {*POINT, Trait.CURVED}
PART = {*CURVE, Trait.PARTIAL}


def operands(init: float) -> tuple[Weight, ...]:
    """The two operands of arithmetic, either of which may be trained."""
    return tuple(Weight(index, init=init, arithmetic=True) for index in (0, 1))


operator(
    "Abs", "BitCast", "Dropout", "IsInf", "IsNaN", "Neg", traits=POINT, weights=(), divisors=(), work=free,
)  # fmt: skip
operator("BitwiseNot", "Not", traits={*POINT, Trait.LIFTING}, weights=(), divisors=(), work=free)
operator("Identity", traits={*POINT, Trait.VIEW, Trait.RESHAPE}, weights=(), divisors=(), work=free)
operator("Cast", "CastLike", traits={*POINT, Trait.RECAST}, weights=(), divisors=(), work=free)
operator(
    "Asinh", "Atan", "Ceil", "Erf", "Floor", "Round", "Sign", "Sin", "Tan",
    traits=CURVE, weights=(), divisors=(), work=free,
)  # fmt: skip
operator("Cos", traits={*CURVE, Trait.LIFTING}, weights=(), divisors=(), work=free)
operator("Asin", "Atanh", "Sinh", "Sqrt", traits=PART, weights=(), divisors=(), work=free)
operator(
    "Acos", "Acosh", "Cosh", "Exp", "Log", traits={*PART, Trait.LIFTING}, weights=(), divisors=(), work=free,
)  # fmt: skip
operator("Reciprocal", traits={*CURVE, Trait.LIFTING}, weights=(), divisors=(0,), work=free)

operator("Add", "Sub", traits={*MANY, Trait.ADDITIVE}, weights=operands(0.0), divisors=(), work=free)
operator("Mul", traits=MANY, weights=operands(1.0), divisors=(), work=free)
operator("Div", traits=MANY, weights=operands(1.0), divisors=(1,), work=free)
operator("Mean", "Sum", "Where", traits={*MANY, Trait.ADDITIVE}, weights=(), divisors=(), work=free)
operator("Max", "Min", traits={*MANY, Trait.CURVED}, weights=(), divisors=(), work=free)
operator("Mod", "Pow", traits={*MANY, Trait.CURVED, Trait.PARTIAL}, weights=(), divisors=(1,), work=free)
operator(
    "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Greater", "Less", "Or", "Xor",
    traits=MANY, weights=(), divisors=(), work=free,
)  # fmt: skip
operator(
    "Equal", "GreaterOrEqual", "LessOrEqual", traits={*MANY, Trait.LIFTING}, weights=(), divisors=(), work=free,
)  # fmt: skip
