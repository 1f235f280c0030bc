"""What transfer methods share: how a tensor is used, and its values at the sources of its new positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chanc.rewriter.edits import AxisEdit

Tensor = NDArray[np.generic]


class Use(NamedTuple):
    """Operator type and input index of the first node that reads a tensor; `transposed` where it is Gemm's transB."""

    op: str
    input: int
    transposed: bool = False


def take(tensor: Tensor, edits: Sequence[AxisEdit]) -> Tensor:
    """A new tensor with the source's value at every position."""
    for edit in edits:
        tensor = np.take(tensor, edit.source, axis=edit.axis)
    return tensor
