"""Attention as one operator (ONNX Attention since 23; onnxruntime's Attention, MultiHeadAttention), RotaryEmbedding.

onnxruntime's Attention holds the projections: weights [in, q + k + v], bias [q + k + v].
"""

from __future__ import annotations

from chanc.ops.spec import Weight, at
from chanc.ops.table import operator
from chanc.ops.work import attention, free, multi_head_attention, packed_attention

PROJECTIONS = (Weight(1, init="he", makes=at(1), takes=at(0)), Weight(2, init=0.0))

operator("Attention", traits=(), weights=(), divisors=(), work=attention)
operator("RotaryEmbedding", traits=(), weights=(), divisors=(), work=free)
operator("RotaryEmbedding", domain="com.microsoft", traits=(), weights=(), divisors=(), work=free)
operator("Attention", domain="com.microsoft", traits=(), weights=PROJECTIONS, divisors=(), work=packed_attention())
operator(
    "MultiHeadAttention", domain="com.microsoft",
    traits=(), weights=(Weight(3, init=0.0),), divisors=(), work=multi_head_attention,
)  # fmt: skip
