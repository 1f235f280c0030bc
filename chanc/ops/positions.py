"""Operators whose results are positions, counts or windows, or that need whole axes (ONNX NonZero, DFT, OneHot)."""

from __future__ import annotations

from chanc.ops.spec import Trait
from chanc.ops.table import operator
from chanc.ops.work import free

operator("DFT", "Det", "STFT", traits=(), weights=(), divisors=(), work=None)
operator(
    "BlackmanWindow", "EyeLike", "HammingWindow", "HannWindow", "MelWeightMatrix", "NonMaxSuppression", "NonZero",
    "OneHot", "Unique",
    traits=(), weights=(), divisors=(), work=free,
)  # fmt: skip
operator("Compress", traits={Trait.CUTTER}, weights=(), divisors=(), work=free)
operator("Trilu", traits={Trait.RANK}, weights=(), divisors=(), work=free)
operator("Multinomial", traits={Trait.RANDOM}, weights=(), divisors=(), work=free)
