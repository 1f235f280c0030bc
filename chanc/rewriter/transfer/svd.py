"""`svd`: CONetV2's Algorithm 4 (which the paper calls knowledge distillation).

Shrinking n -> n' along an axis: the tensor, unfolded to [n, everything else], is truncated to rank n' by its SVD, and
the first n' rows of that are kept. Growing: the last rows are appended reflected (see `reflect`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chanc.rewriter.edits import AxisEdit, Part
from chanc.rewriter.transfer import register
from chanc.rewriter.transfer._common import Tensor, Use, take


@register("svd", ordered=True)
def svd(tensor: Tensor, edits: Sequence[AxisEdit], use: Use, rng: np.random.Generator) -> Tensor:
    """Rank-n' truncation along each shrunken axis, reflection along each grown one.

    Axis after axis, in float64; each group on an axis is truncated by itself, its rows the units.
    """
    if not any(_shrinks(part) for edit in edits for part in edit.parts):
        return take(tensor, edits)
    values = tensor.astype(np.float64)
    for edit in edits:
        lead = np.moveaxis(values, edit.axis, 0)
        # What grows is right by its sources alone: they are reflected.
        out = lead[edit.source]
        for part in filter(_shrinks, edit.parts):
            rows = lead[part.old].reshape(part.old.shape[0], -1)
            out[part.new] = _shrink(rows, part).reshape(*part.new.shape, *lead.shape[1:])
        values = np.moveaxis(out, 0, edit.axis)
    if tensor.dtype.kind in "iu":
        limits = np.iinfo(str(tensor.dtype))
        values = np.clip(np.rint(values), limits.min, limits.max)
    return np.ascontiguousarray(values).astype(tensor.dtype)


def _shrinks(part: Part) -> bool:
    return len(part.source) < len(part.old)


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
