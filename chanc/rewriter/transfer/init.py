"""`init`: forget the weights and draw new ones, as training from scratch would.

Weights: He et al. 2015, normal with variance 2 / fan-in, for W [O, I, ...]. Normalisations: scale 1, shift 0, mean 0,
variance 1. Biases 0. What is neither keeps the values of its sources.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer import register
from chanc.rewriter.transfer.select import take
from chanc.rewriter.transfer.use import Use

Tensor = NDArray[np.generic]

CONSTANTS: dict[tuple[str, int], float] = {
    ("BatchNormalization", 1): 1, ("BatchNormalization", 2): 0,
    ("BatchNormalization", 3): 0, ("BatchNormalization", 4): 1,
    ("InstanceNormalization", 1): 1, ("InstanceNormalization", 2): 0,
    ("GroupNormalization", 1): 1, ("GroupNormalization", 2): 0,
    ("LayerNormalization", 1): 1, ("LayerNormalization", 2): 0,
    ("Conv", 2): 0, ("ConvTranspose", 2): 0, ("Gemm", 2): 0, ("PRelu", 1): 0.25,
    ("FusedConv", 2): 0, ("FusedGemm", 2): 0, ("BiasGelu", 1): 0, ("FastGelu", 1): 0,
}  # fmt: skip
OUT_AXIS: dict[tuple[str, int], int] = {
    ("Conv", 1): 0, ("ConvTranspose", 1): 1, ("MatMul", 1): -1, ("Gemm", 1): 1,
    ("FusedConv", 1): 0, ("FusedMatMul", 1): -1, ("FusedGemm", 1): 1,
}  # fmt: skip


@register("init", fresh=True)
def init(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """New values for a tensor of the new shape."""
    taken = take(tensor, edits)
    place = (use.op, use.input)
    if place in CONSTANTS:
        return np.full_like(taken, CONSTANTS[place])
    if place in OUT_AXIS and taken.ndim > 1:
        fan_in = taken.size // taken.shape[0 if use.transposed else OUT_AXIS[place]]
        drawn: Tensor = (rng.standard_normal(taken.shape) * np.sqrt(2.0 / fan_in)).astype(tensor.dtype)
        return drawn
    return taken
