"""Resizing and padding (ONNX Resize, Upsample, Pad; onnxruntime's Upsample in blocks of channels)."""

from __future__ import annotations

from chanc.ops.spec import Trait
from chanc.ops.table import operator
from chanc.ops.work import free

operator("Pad", "Resize", "Upsample", traits={Trait.CHANNELWISE, Trait.RANK}, weights=(), divisors=(), work=free)
operator(
    "Upsample", domain="com.microsoft.nchwc",
    traits={Trait.CHANNELWISE, Trait.RANK}, weights=(), divisors=(), work=free,
)  # fmt: skip
