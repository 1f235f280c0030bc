"""Convolutions (ONNX Conv, ConvTranspose, DeformConv; onnxruntime's FusedConv, and Conv in blocks of channels).

Conv: W [O, I/group, k...], B [O]; ConvTranspose: W [I, O/group, k...], B [O].
"""

from __future__ import annotations

from chanc.ops.spec import Trait, Weight, at
from chanc.ops.table import operator
from chanc.ops.work import convolution, transposed_convolution

SLIDES = {Trait.CONVOLUTION, Trait.RANK}
KERNEL = Weight(1, init="he", makes=at(0), takes=at(1), kernel=True)
TURNED = Weight(1, init="he", makes=at(1), takes=at(0), kernel=True)

operator("Conv", traits=SLIDES, weights=(KERNEL, Weight(2, init=0.0)), divisors=(), work=convolution())
operator(
    "ConvTranspose", traits=SLIDES, weights=(TURNED, Weight(2, init=0.0)), divisors=(), work=transposed_convolution,
)  # fmt: skip
operator("DeformConv", traits=SLIDES, weights=(KERNEL, Weight(3, init=0.0)), divisors=(), work=convolution())
operator(
    "FusedConv", domain="com.microsoft",
    traits=SLIDES, weights=(KERNEL, Weight(2, init=0.0)), divisors=(), work=convolution(),
)  # fmt: skip
operator(
    "Conv", domain="com.microsoft.nchwc",
    traits=SLIDES, weights=(KERNEL, Weight(2, init=0.0)), divisors=(), work=convolution(),
)  # fmt: skip
