"""Attention as one operator (ONNX Attention since 23; onnxruntime's forms), RotaryEmbedding, EmbedLayerNormalization.

onnxruntime's Attention holds the projections: weights [in, q + k + v], bias [q + k + v].
"""

from __future__ import annotations

from chanc.ops.norm import ACROSS
from chanc.ops.spec import Trait, Weight, at
from chanc.ops.table import operator
from chanc.ops.work import (
    attention,
    free,
    grouped_attention,
    multi_head_attention,
    normalisation,
    packed_attention,
)

PROJECTIONS = (Weight(1, init="he", makes=at(1), takes=at(0)), Weight(2, init=0.0))

operator("Attention", traits=(), weights=(), divisors=(), work=attention)
operator("RotaryEmbedding", traits=(), weights=(), divisors=(), work=free)
operator("RotaryEmbedding", domain="com.microsoft", traits=(), weights=(), divisors=(), work=free)
operator("Attention", domain="com.microsoft", traits=(), weights=PROJECTIONS, divisors=(), work=packed_attention())
operator(
    "MultiHeadAttention", domain="com.microsoft",
    traits=(), weights=(Weight(3, init=0.0),), divisors=(), work=multi_head_attention,
)  # fmt: skip
operator("GroupQueryAttention", domain="com.microsoft", traits=(), weights=(), divisors=(), work=grouped_attention)
# Three tables, [rows, C], then the norm of their sum.
operator(
    "EmbedLayerNormalization", domain="com.microsoft", traits=ACROSS - {Trait.RANK},
    weights=(
        *(Weight(index, init="normal", makes=at(1)) for index in (2, 3, 4)), Weight(5, init=1.0), Weight(6, init=0.0),
    ),
    divisors=(), work=normalisation,
)  # fmt: skip
