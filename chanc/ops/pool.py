"""Pooling (ONNX MaxPool, AveragePool, LpPool and the global ones; onnxruntime's in blocks of channels)."""

from __future__ import annotations

from chanc.ops.spec import Trait
from chanc.ops.table import operator
from chanc.ops.work import pooling

POOLS = {Trait.POOL, Trait.CHANNELWISE, Trait.RANK}

operator(
    "AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool",
    traits=POOLS, weights=(), divisors=(), work=pooling,
)  # fmt: skip
operator(
    "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool",
    domain="com.microsoft.nchwc", traits=POOLS, weights=(), divisors=(), work=pooling,
)  # fmt: skip
