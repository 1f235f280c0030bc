"""Activations (ONNX Relu and its kin; onnxruntime's Gelu, QuickGelu, BiasGelu, FastGelu).

PRelu's slope is one a channel, 0.25 at first (He et al. 2015).
"""

from __future__ import annotations

from chanc.ops.elementwise import CURVE, MANY, POINT
from chanc.ops.spec import Trait, Weight
from chanc.ops.table import operator
from chanc.ops.work import activation

BENT = {*CURVE, Trait.ACTIVATION}

operator("LeakyRelu", "Relu", traits={*POINT, Trait.ACTIVATION}, weights=(), divisors=(), work=activation)
operator("PRelu", traits={*MANY, Trait.ACTIVATION}, weights=(Weight(1, init=0.25),), divisors=(), work=activation)
operator(
    "Celu", "Clip", "Elu", "Gelu", "HardSwish", "Mish", "Selu", "Shrink", "Softsign",
    "Swish", "Tanh", "ThresholdedRelu",
    traits=BENT, weights=(), divisors=(), work=activation,
)  # fmt: skip
operator("Softplus", traits={*BENT, Trait.LIFTING}, weights=(), divisors=(), work=activation)
operator(
    "HardSigmoid", "Sigmoid",
    traits={*BENT, Trait.SATURATING, Trait.LIFTING}, weights=(), divisors=(), work=activation,
)  # fmt: skip
operator("Gelu", "QuickGelu", domain="com.microsoft", traits=BENT, weights=(), divisors=(), work=activation)
operator(
    "BiasGelu", "FastGelu", domain="com.microsoft",
    traits={*BENT, Trait.BROADCAST}, weights=(Weight(1, init=0.0),), divisors=(), work=activation,
)  # fmt: skip
