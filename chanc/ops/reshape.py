"""Moving axes and elements (ONNX Reshape, Transpose, DepthToSpace, Expand, ...; onnxruntime's Reorder*).

What Expand repeats may be a token that is trained.
"""

from __future__ import annotations

from chanc.ops.spec import Trait, Weight
from chanc.ops.table import operator
from chanc.ops.work import free

operator(
    "Flatten", "Reshape", "Squeeze", "Unsqueeze",
    traits={Trait.VIEW, Trait.RESHAPE}, weights=(), divisors=(), work=free,
)  # fmt: skip
operator(
    "DepthToSpace", "SpaceToDepth", "Transpose", traits={Trait.VIEW, Trait.RANK}, weights=(), divisors=(), work=free,
)  # fmt: skip
operator("Tile", traits={Trait.RANK}, weights=(), divisors=(), work=free)
operator("Expand", traits=(), weights=(Weight(0, init="normal", arithmetic=True),), divisors=(), work=free)
# Onnxruntime fills the last block of channels up with zeros.
operator("ReorderInput", "ReorderOutput", domain="com.microsoft.nchwc", traits=(), weights=(), divisors=(), work=free)
