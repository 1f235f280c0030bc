"""`init`: forget the weights and draw new ones, as training from scratch would.

What a weight is and how a fresh one begins stands in its operator's spec (`chanc.ops`): weights are drawn normal with
variance 2 / fan-in (He et al. 2015), tables of vectors with deviation 0.02, biases are 0, norms scale by 1. Quantised
weights are shuffled, so that their scales still fit. What nobody trains keeps the values of its sources.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from chanc.rewriter.edits import AxisEdit
from chanc.rewriter.transfer import register
from chanc.rewriter.transfer._common import Tensor, Use, take

TABLE_DEVIATION = 0.02


@register("init", fresh=True)
def init(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """New values for a tensor of the new shape."""
    taken = take(tensor, edits)
    if use.fill is None:
        return taken
    if not isinstance(use.fill, str):
        return np.full_like(taken, use.fill)
    if not ir.DataType.from_numpy(tensor.dtype).is_floating_point():
        return taken.ravel()[rng.permutation(taken.size)].reshape(taken.shape)
    deviation = TABLE_DEVIATION if use.fill == "normal" else np.sqrt(2.0 / use.fan_in(taken.shape))
    drawn: Tensor = (rng.standard_normal(taken.shape) * deviation).astype(tensor.dtype)
    return drawn
