"""How far the outputs of models are from those of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from chanc.analysis.infer_shapes import infer_shapes
from chanc.backends.ort import run, session
from chanc.errors import ModelError
from chanc.ir import copy_model
from chanc.transforms._edit import Array
from chanc.transforms.recovery.frontier import Feeds, part


def errors(teacher: ir.Model, models: Sequence[ir.Model], batches: Sequence[Feeds]) -> list[float]:
    """The relative error of each model: root mean square error over the teacher's spread, the mean over float outputs.

    The spread is that over samples, each entry by itself; where samples are of several sizes, or there is one, over all
    entries. What isn't finite in the teacher doesn't count; a model that isn't finite elsewhere has NaN. A detector is
    compared in front of what picks its boxes: two models pick other ones, and other numbers of them.
    """
    names = _ends(teacher)
    opened = [session(_ended(model, names, batches[0])) for model in (teacher, *models)]
    feeds = [{value.name for value in one.get_inputs()} for one in opened]
    moments: dict[int, Array] = {}
    squares = np.zeros((len(models), len(names)))
    for batch in batches:
        want, *have = (run(one, {name: batch[name] for name in batch.keys() & reads})
                       for one, reads in zip(opened, feeds, strict=True))  # fmt: skip
        for k, array in enumerate(want):
            if array.dtype.kind == "f" and array.ndim:
                finite = np.isfinite(array)
                values = np.where(finite, array, 0).astype(np.float64)
                moments[k] = _joined(moments.get(k), np.stack([m.sum(axis=0) for m in (finite, values, values**2)]))
                squares[:, k] += [(np.where(finite, outputs[k] - values, 0) ** 2).sum() for outputs in have]
    spread = np.array([_spread(moments[k]) if k in moments else 0.0 for k in range(len(names))])
    told = spread > 0
    return [float(np.sqrt(each[told] / spread[told]).mean()) if told.any() else 0.0 for each in squares]


def _ends(model: ir.Model) -> list[str]:
    """The names of a model's outputs, or of what a tail that can't be trained reads in their place."""
    from chanc.backends.torch.tail import cut_tail

    twin = copy_model(model)
    infer_shapes(twin)
    try:
        cut_tail(twin, training=True)
    except ModelError:
        twin = model  # weights are behind it
    return [value.name or "" for value in twin.graph.outputs]


def _ended(model: ir.Model, names: Sequence[str], known: Feeds) -> ir.Model:
    """The model up to the values of these names, which it has as well as the one that it was made from."""
    values = {value.name: value for node in model.graph for value in node.outputs}
    values |= {value.name: value for value in model.graph.outputs}
    return part(model, model.graph.inputs, [values[name] for name in names], known)


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
