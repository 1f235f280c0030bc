"""Anything that can be iterated as samples in memory: a torch Dataset or DataLoader, a list or generator of batches.

A batch is an array or tensor [B, ...] for the one input of a model, a dict by the names of its inputs (with "labels",
or without), or a tuple: of the inputs in their order, with labels behind them or without; (dict, labels) goes too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from chanc import plugins
from chanc.data.samples import Array, Samples, divided
from chanc.errors import DataError

LABELS = "labels"
BATCH = 64
"""Samples that are taken at a time from what has single ones."""


def collect(source: Iterable[object], inputs: Sequence[str], most: int | None = None) -> Samples:
    """Go once through `source` and keep what it gives, or the first `most` samples; a fifth is held out.

    inputs: the names of the model's. Raises: DataError for batches that don't fit them or each other, and for whatever
    `source` raises.
    """
    found: dict[str, list[Array]] = {}
    count = 0
    with plugins.guarded("reading the data", DataError):
        for batch in _batches(source):
            named = _named(batch, inputs)
            for name, value in named.items():
                found.setdefault(name, []).append(value)
            count += len(next(iter(named.values())))
            if most is not None and count >= most:
                break
    if not found:
        raise DataError("the data have no batches: an iterator that was used up before has none either")
    arrays = {name: _joined(name, parts)[:most] for name, parts in found.items()}
    return divided("data", arrays, arrays.pop(LABELS, None))


def _batches(source: Iterable[object]) -> Iterable[object]:
    """What to iterate over: a torch Dataset has single samples, which a loader makes batches of."""
    if type(source).__module__.partition(".")[0] in ("builtins", "numpy"):
        return source
    try:
        from torch.utils.data import DataLoader, Dataset
    except ImportError:
        return source
    return DataLoader(source, batch_size=BATCH) if isinstance(source, Dataset) else source


def _named(batch: object, inputs: Sequence[str]) -> dict[str, Array]:
    """The arrays of a batch by input, and its labels. Raises: DataError for another number of them."""
    if isinstance(batch, Mapping):
        return {str(name): _array(str(name), value) for name, value in batch.items()}
    parts = list(batch) if isinstance(batch, tuple | list) else [batch]
    if len(parts) == 2 and isinstance(parts[0], Mapping):
        return {**_named(parts[0], inputs), LABELS: _array(LABELS, parts[1])}
    names = [*inputs, LABELS]
    if not len(inputs) <= len(parts) <= len(names):
        raise DataError(f"a batch of the data has {len(parts)} parts, the model's inputs are {', '.join(inputs)}")
    return {name: _array(name, value) for name, value in zip(names, parts, strict=False)}


def _array(name: str, value: object) -> Array:
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.ndim == 0:
        raise DataError(f"a batch of the data has a single number for '{name}', expected an array [B, ...]")
    return array


def _joined(name: str, parts: Sequence[Array]) -> Array:
    """The batches of an input as one array. Raises: DataError for samples of several shapes."""
    shapes = list(dict.fromkeys("x".join(map(str, part.shape[1:])) for part in parts))
    if len(shapes) > 1:
        raise DataError(f"the data's samples of '{name}' are {shapes[0]} and {shapes[1]}: bring them to one shape")
    return np.concatenate(parts)
