"""`svd`: CONetV2's Algorithm 4 (which the paper calls knowledge distillation).

Shrinking n -> n' along an axis: the tensor, unfolded to [n, everything else], is truncated to rank n' by its SVD, and
the first n' rows of that are kept. Growing: the last rows are appended reflected (see `reflect`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chanc.rewrite.edits import AxisEdit, Part
from chanc.rewrite.transfer.reflect import by_units
from chanc.rewrite.transfer.use import Use

Tensor = NDArray[np.generic]


def svd(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """Rank-n' truncation along each shrunken axis, reflection along each grown one."""
    return by_units(tensor, edits, _shrink)


def _shrink(rows: NDArray[np.float64], part: Part) -> NDArray[np.float64]:
    """`rows: [n, m]` -> the first n' rows of the best approximation of rank n'."""
    count = part.source.size
    if rows.shape[1] <= count or not np.isfinite(rows).all():
        return rows[part.source]
    # Projecting on the leading n' left singular vectors gives the same rows as U S V^T cut to rank n'.
    left, _, _ = np.linalg.svd(rows, full_matrices=False) if rows.shape[1] < 4 * rows.shape[0] else _left(rows)
    leading = left[:, :count]
    return np.asarray(leading[:count] @ (leading.T @ rows))


def _left(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], None, None]:
    """Left singular vectors by the Gram matrix of the small side, leading ones first."""
    values, vectors = np.linalg.eigh(rows @ rows.T)
    return vectors[:, np.argsort(values)[::-1]], None, None
