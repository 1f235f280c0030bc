"""Normalisations: per channel, across channels, and softmax (ONNX; onnxruntime's SkipLayerNormalization).

Scale 1, shift 0, and for BatchNormalization mean 0 and variance 1, which training measures.
"""

from __future__ import annotations

from chanc.ops.spec import Trait, Weight
from chanc.ops.table import operator
from chanc.ops.work import free, normalisation

# Of a weight, each gives something else than half for half of it.
ACROSS = {Trait.NORM, Trait.RANK, Trait.CURVED}
BY_CHANNEL = {*ACROSS, Trait.CHANNELWISE}
SHARES = {Trait.RANK, Trait.CURVED}
SCALE, SHIFT = Weight(1, init=1.0), Weight(2, init=0.0)
STATISTICS = (Weight(3, init=0.0, statistic=True), Weight(4, init=1.0, statistic=True))

operator(
    "BatchNormalization", traits=BY_CHANNEL, weights=(SCALE, SHIFT, *STATISTICS), divisors=(4,), work=normalisation,
)  # fmt: skip
operator(
    "GroupNormalization", "InstanceNormalization",
    traits=BY_CHANNEL, weights=(SCALE, SHIFT), divisors=(), work=normalisation,
)  # fmt: skip
operator("LRN", traits=BY_CHANNEL, weights=(), divisors=(), work=normalisation)
operator("LayerNormalization", traits=ACROSS, weights=(SCALE, SHIFT), divisors=(), work=normalisation)
# onnxruntime writes SimplifiedLayerNormalization into ONNX's own domain.
operator(
    "RMSNormalization", "SimplifiedLayerNormalization",
    traits=ACROSS, weights=(SCALE,), divisors=(), work=normalisation,
)  # fmt: skip
operator("LpNormalization", "MeanVarianceNormalization", traits=ACROSS, weights=(), divisors=(), work=normalisation)
operator(
    "SkipLayerNormalization", domain="com.microsoft", traits=ACROSS,
    weights=(Weight(2, init=1.0), Weight(3, init=0.0), Weight(4, init=0.0)), divisors=(), work=normalisation,
)  # fmt: skip
operator(
    "SkipSimplifiedLayerNormalization", domain="com.microsoft", traits=ACROSS,
    weights=(Weight(2, init=1.0), Weight(3, init=0.0)), divisors=(), work=normalisation,
)  # fmt: skip
operator("Softmax", traits={*SHARES, Trait.SATURATING, Trait.LIFTING}, weights=(), divisors=(), work=free)
operator("Hardmax", "LogSoftmax", traits={*SHARES, Trait.LIFTING}, weights=(), divisors=(), work=free)
