"""How far the outputs of models are from those of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from chanc.backends.ort import run, session
from chanc.transforms._edit import Array
from chanc.transforms.recovery.frontier import Feeds


def errors(teacher: ir.Model, models: Sequence[ir.Model], batches: Sequence[Feeds]) -> list[float]:
    """The relative error of each model: root mean square error over the teacher's spread, the mean over float outputs.

    The spread is that over samples, each entry by itself; where samples are of several sizes, or there is one, over all
    entries. What isn't finite in the teacher doesn't count; a model that isn't finite elsewhere has NaN.
    """
    opened = [session(model) for model in (teacher, *models)]
    moments: dict[int, Array] = {}
    squares = np.zeros((len(models), len(teacher.graph.outputs)))
    for batch in batches:
        want, *have = (run(one, batch) for one in opened)
        for k, array in enumerate(want):
            if array.dtype.kind == "f" and array.ndim:
                finite = np.isfinite(array)
                values = np.where(finite, array, 0).astype(np.float64)
                moments[k] = _joined(moments.get(k), np.stack([m.sum(axis=0) for m in (finite, values, values**2)]))
                squares[:, k] += [(np.where(finite, outputs[k] - values, 0) ** 2).sum() for outputs in have]
    spread = np.array([_spread(moments[k]) if k in moments else 0.0 for k in range(squares.shape[1])])
    told = spread > 0
    return [float(np.sqrt(each[told] / spread[told]).mean()) if told.any() else 0.0 for each in squares]


def _joined(one: Array | None, two: Array) -> Array:
    """Counts, sums and sums of squares of two batches, [3, ...]; over all entries where these are other ones."""
    if one is None:
        return two
    if one.shape != two.shape:
        one, two = (moments.reshape(3, -1).sum(axis=1) for moments in (one, two))
    return np.asarray(one + two)


def _spread(moments: Array) -> float:
    if moments[0].max(initial=0) < 2:
        moments = moments.reshape(3, -1).sum(axis=1)
    count, total, square = moments
    return float((square - total**2 / np.maximum(count, 1)).sum())
