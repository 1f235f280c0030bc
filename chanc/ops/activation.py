"""Activations (ONNX Relu and its kin; onnxruntime's Gelu, QuickGelu, BiasGelu, FastGelu).

PRelu's slope is one a channel, 0.25 at first (He et al. 2015).
"""

from __future__ import annotations

from chanc.ops.elementwise import CURVE, MANY, POINT
from chanc.ops.spec import Trait, Weight
from chanc.ops.table import operator

BENT = {*CURVE, Trait.ACTIVATION}

operator("LeakyRelu", "Relu", traits={*POINT, Trait.ACTIVATION}, weights=(), divisors=())
operator("PRelu", traits={*MANY, Trait.ACTIVATION}, weights=(Weight(1, init=0.25),), divisors=())
operator(
    "Celu", "Clip", "Elu", "Gelu", "HardSwish", "Mish", "Selu", "Softplus", "Swish", "ThresholdedRelu",
    traits=BENT, weights=(), divisors=(),
)  # fmt: skip
operator("Shrink", "Softsign", "Tanh", traits=CURVE, weights=(), divisors=())
operator("HardSigmoid", "Sigmoid", traits={*CURVE, Trait.SATURATING}, weights=(), divisors=())
operator("Gelu", "QuickGelu", domain="com.microsoft", traits=BENT, weights=(), divisors=())
operator(
    "BiasGelu", "FastGelu",
    domain="com.microsoft", traits={*BENT, Trait.BROADCAST}, weights=(Weight(1, init=0.0),), divisors=(),
)  # fmt: skip
