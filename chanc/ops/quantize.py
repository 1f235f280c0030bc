"""Quantisation (ONNX QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear) and products of quantised integers.

Scales and zero points follow from the values that they stand for: they are no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from chanc.ops.conv import KERNEL, SLIDES
from chanc.ops.linear import PRODUCT, factors
from chanc.ops.pool import POOLS
from chanc.ops.spec import Trait, Weight, at
from chanc.ops.table import Kind, kind_of, operator
from chanc.ops.work import (
    activation,
    convolution,
    free,
    gemm,
    packed_attention,
    packed_product,
    pooling,
    product,
    recurrent,
)

MS = "com.microsoft"
QUANTIZE = {Trait.CURVED, Trait.CHANNELWISE, Trait.RANK}
RIGHT, RIGHT_TURNED = factors()[1], factors("", "transB")[1]

for domain in ("", MS):
    operator(
        "DequantizeLinear", domain=domain,
        traits={Trait.RECAST, Trait.CHANNELWISE, Trait.RANK}, weights=(), divisors=(), work=free,
    )  # fmt: skip
    operator("QuantizeLinear", domain=domain, traits={*QUANTIZE, Trait.RECAST}, weights=(), divisors=(1,), work=free)
    operator(
        "QLinearConv", domain=domain,
        traits=SLIDES, weights=(replace(KERNEL, input=3), Weight(8, init=0.0)), divisors=(6,), work=convolution(3),
    )  # fmt: skip
operator("DynamicQuantizeLinear", traits=QUANTIZE, weights=(), divisors=(), work=free)
operator("ConvInteger", traits=SLIDES, weights=(KERNEL,), divisors=(), work=convolution())
operator("MatMulInteger", traits=PRODUCT, weights=factors(), divisors=(), work=product())
operator("MatMulInteger16", domain=MS, traits=PRODUCT, weights=factors(), divisors=(), work=product())
operator(
    "QLinearMatMul", traits=PRODUCT, weights=(factors()[0], replace(RIGHT, input=3)), divisors=(6,), work=product(3),
)  # fmt: skip
operator(
    "QGemm", domain=MS,
    traits=PRODUCT, weights=(replace(RIGHT_TURNED, input=3), Weight(6, init=0.0)), divisors=(7,), work=gemm(3),
)  # fmt: skip
operator(
    "MatMulIntegerToFloat", domain=MS,
    traits=PRODUCT, weights=(RIGHT, Weight(6, init=0.0)), divisors=(), work=product(),
)  # fmt: skip
operator(
    "DynamicQuantizeMatMul", domain=MS,
    traits=PRODUCT, weights=(RIGHT, Weight(4, init=0.0)), divisors=(), work=product(),
)  # fmt: skip
# [N, blocks of K, bytes of a block]
operator(
    "MatMulNBits", domain=MS, traits=PRODUCT,
    weights=(Weight(1, init="he", makes=at(0), takes=at(1, 2)), Weight(5, init=0.0)), divisors=(), work=packed_product,
)  # fmt: skip
# Four bits a value, all rows of [N, K] one after the other.
operator(
    "MatMulBnb4", domain=MS,
    traits=PRODUCT, weights=(Weight(1, init="he", takes=at(0)),), divisors=(), work=packed_product,
)  # fmt: skip
# [in, q + k + v] and [directions, input, gates * hidden]: the other way round than LSTM's.
operator(
    "QAttention", domain=MS,
    traits=(), weights=(Weight(1, init="he", makes=at(1), takes=at(0)), Weight(2, init=0.0)),
    divisors=(), work=packed_attention(past=8),
)  # fmt: skip
operator(
    "DynamicQuantizeLSTM", domain=MS, traits=(),
    weights=(
        Weight(1, init="he", makes=at(2), takes=at(1)), Weight(2, init="he", makes=at(2), takes=at(1)),
        Weight(3, init=0.0), Weight(7, init=0.0),
    ),
    divisors=(), work=recurrent,
)  # fmt: skip
operator("QLinearAdd", "QLinearMul", domain=MS, traits=QUANTIZE, weights=(), divisors=(), work=free)
operator(
    "QLinearLeakyRelu", "QLinearSigmoid", domain=MS,
    traits={*QUANTIZE, Trait.ACTIVATION}, weights=(), divisors=(), work=activation,
)  # fmt: skip
operator("QLinearSoftmax", domain=MS, traits={Trait.RANK, Trait.CURVED}, weights=(), divisors=(), work=free)
operator(
    "QLinearAveragePool", "QLinearGlobalAveragePool", domain=MS, traits=POOLS, weights=(), divisors=(), work=pooling,
)  # fmt: skip
operator("QLinearConcat", domain=MS, traits={Trait.CURVED}, weights=(), divisors=(), work=free)

ZERO_POINTS: Mapping[Kind, Mapping[int, int]] = {
    (MS, "QAttention"): {1: 7},
    (MS, "DynamicQuantizeLSTM"): {1: 9, 2: 11},
    ("", "DequantizeLinear"): {0: 2},
    (MS, "DequantizeLinear"): {0: 2},
    ("", "QLinearConv"): {0: 2, 3: 5},
    (MS, "QLinearConv"): {0: 2, 3: 5},
    ("", "ConvInteger"): {0: 2, 1: 3},
    ("", "MatMulInteger"): {0: 2, 1: 3},
    ("", "QLinearMatMul"): {0: 2, 3: 5},
    (MS, "QGemm"): {0: 2, 3: 5},
    (MS, "MatMulIntegerToFloat"): {0: 4, 1: 5},
    (MS, "DynamicQuantizeMatMul"): {1: 3},
}
"""The input that holds the zero point, one for all or one for each channel that is made, of each quantised input."""


def zero_point(node: ir.Node, index: int) -> ir.Value | None:
    """The zero point of a quantised input of a node: what is stored there for 0; None where it is 0."""
    found = ZERO_POINTS.get(kind_of(node), {}).get(index)
    return node.inputs[found] if found is not None and found < len(node.inputs) else None
