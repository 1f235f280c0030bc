"""Operators whose results are positions, counts or windows, or that need whole axes (ONNX NonZero, DFT, ...)."""

from __future__ import annotations

from chanc.ops.spec import Trait
from chanc.ops.table import operator

operator(
    "BlackmanWindow", "DFT", "Det", "EyeLike", "HammingWindow", "HannWindow", "MelWeightMatrix", "NonMaxSuppression",
    "NonZero", "OneHot", "STFT", "Unique",
    traits=(), weights=(), divisors=(),
)  # fmt: skip
operator("Compress", traits={Trait.CUTTER}, weights=(), divisors=())
operator("Trilu", traits={Trait.RANK}, weights=(), divisors=())
operator("Multinomial", traits={Trait.RANDOM}, weights=(), divisors=())
