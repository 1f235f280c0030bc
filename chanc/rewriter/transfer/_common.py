"""What transfer methods share: what a fresh tensor would hold, and the values at the sources of new positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chanc.ops import Fill
from chanc.rewriter.edits import AxisEdit

Tensor = NDArray[np.generic]


class Use(NamedTuple):
    """`fill`: what a fresh tensor is filled with, None where nobody trains it; `fan_in`: from its shape."""

    fill: Fill | None = None
    fan_in: Callable[[tuple[int, ...]], int] = prod


KEPT = Use()


def take(tensor: Tensor, edits: Sequence[AxisEdit]) -> Tensor:
    """A new tensor with the source's value at every position."""
    for edit in edits:
        tensor = np.take(tensor, edit.source, axis=edit.axis)
    return tensor
