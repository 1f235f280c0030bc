"""Samples that lie in one array an input, cut into batches."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from chanc.backends.ort.run import Array
from chanc.errors import DataError
from chanc.ir import load

NUMBERS = 1 << 20
"""Numbers of the inputs of a batch: seven images of 224 x 224."""
BATCHES = 10
"""At least so many batches, where there are as many samples."""


def calibration_batches(model: Any, feeds: Mapping[str, Array]) -> list[dict[str, Array]]:
    """The samples of `feeds`, {input name: [samples, ...]}, in batches of the size that the inputs are fixed to.

    Where that is open, in batches of some `NUMBERS`. Arrays of several lengths are no samples: they stay one batch.

    Raises: DataError for samples that don't make up whole batches of a fixed size.
    """
    lengths = {array.shape[:1] for array in feeds.values()}
    if len(lengths) != 1 or () in lengths:
        return [dict(feeds)]
    ((count,),) = lengths
    shapes = [value.shape for value in load(model, copy=False).graph.inputs if value.name in feeds]
    fixed = {shape[0] for shape in shapes if shape is not None and len(shape) and isinstance(shape[0], int)}
    each = max((size for size in fixed if isinstance(size, int) and size > 0), default=0)
    if each and count % each:
        raise DataError(f"{count} samples don't make up batches of {each}, which the model's inputs are fixed to")
    numbers = sum(prod(array.shape[1:]) for array in feeds.values())
    step = each or max(1, min(NUMBERS // max(numbers, 1), -(-count // BATCHES)))
    return [{name: array[k : k + step] for name, array in feeds.items()} for k in range(0, count, step)]
