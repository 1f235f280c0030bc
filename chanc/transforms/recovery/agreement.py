"""How far the outputs of models are from those of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from chanc.backends.ort import run, session
from chanc.transforms.recovery.frontier import Feeds


def errors(teacher: ir.Model, models: Sequence[ir.Model], batches: Sequence[Feeds]) -> list[float]:
    """The relative error of each model: root mean square error over the teacher's spread, the mean over float outputs.

    What isn't finite in the teacher doesn't count; a model that isn't finite elsewhere has NaN.
    """
    opened = [session(model) for model in (teacher, *models)]
    count = len(teacher.graph.outputs)
    moments, squares = np.zeros((3, count)), np.zeros((len(models), count))
    for batch in batches:
        want, *have = (run(one, batch) for one in opened)
        for k, array in enumerate(want):
            if array.dtype.kind != "f":
                continue
            finite = np.isfinite(array)
            values = array[finite].astype(np.float64)
            moments[:, k] += values.size, values.sum(), (values**2).sum()
            squares[:, k] += [((outputs[k][finite] - values) ** 2).sum() for outputs in have]
    spread = moments[2] - moments[1] ** 2 / np.maximum(moments[0], 1)
    told = spread > 0
    return [float(np.sqrt(each[told] / spread[told]).mean()) if told.any() else 0.0 for each in squares]
