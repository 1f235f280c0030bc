"""Many samples through a session, batch by batch; a model whose batch is fixed gets its own, the last one filled up.

Samples that are whole runs go one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chanc.backends.ort.run import Array, run
from chanc.errors import ModelError
from chanc.ir.turns import Turns


def fixed_batch(opened: Any) -> int | None:
    """The batch that the inputs of a session insist on: the size of the first axes that have one; None where none has.

    A state that goes from run to run may have one where the input beside it is open.
    """
    sizes = {size for value in opened.get_inputs() for size in value.shape[:1] if isinstance(size, int) and size > 0}
    return sizes.pop() if len(sizes) == 1 else None


def in_batches(feeds: Mapping[str, Array], size: int) -> Iterator[dict[str, Array]]:
    """At most so many samples of each input at a time; all at once where inputs have other numbers of them."""
    count = samples(feeds)
    if not count:
        yield dict(feeds)
    for start in range(0, count, size):
        yield {name: array[start : start + size] for name, array in feeds.items()}


def run_batch(opened: Any, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of a batch, by name, in the order of the graph.

    Of a model with a fixed batch the samples may be fewer or more; each is a run of its own where all arrays have an
    axis more than the inputs. Raises: ModelError, as `run`, and for what can't be joined.
    """
    names = [value.name for value in opened.get_outputs()]
    shapes = {value.name: value.shape for value in opened.get_inputs()}
    turns = Turns.of_shapes(shapes)
    if any(shapes.values()) and turns.whole(feeds):
        runs = [run(opened, part) for part in turns.parts(feeds)]
        return {name: _stacked(name, arrays) for name, *arrays in zip(names, *runs, strict=True)}
    fixed, count = fixed_batch(opened), samples(feeds)
    if fixed is None or count in (0, fixed):
        return dict(zip(names, run(opened, feeds), strict=True))
    filled = {name: _filled(array, fixed) for name, array in feeds.items()}
    parts = [run(opened, part) for part in in_batches(filled, fixed)]
    return {name: _joined(arrays, fixed, count) for name, *arrays in zip(names, *parts, strict=True)}


def samples(feeds: Mapping[str, Array]) -> int:
    """How many samples the inputs have, along their first axes; 0 where they have other numbers of them."""
    counts = {len(array) if array.ndim else 0 for array in feeds.values()}
    return counts.pop() if len(counts) == 1 else 0


def _stacked(name: str, parts: Sequence[Array]) -> Array:
    """An output of all runs; one that has other rows in each, boxes for one, has those of all."""
    if len({part.shape for part in parts}) == 1:
        return np.stack(parts)
    if len({part.shape[1:] for part in parts}) > 1:
        raise ModelError(f"output '{name}' is {list(parts[0].shape)} in one run and has other sizes in others")
    return np.concatenate(parts)


def _joined(parts: Sequence[Array], fixed: int, count: int) -> Array:
    """An output of all samples; one that isn't of samples, boxes for one, has the rows of all parts."""
    whole = np.concatenate([np.atleast_1d(part) for part in parts])
    return whole[:count] if len(whole) == fixed * len(parts) else whole


def _filled(array: Array, multiple: int) -> Array:
    """With the last sample repeated, to a multiple of samples."""
    missing = -len(array) % multiple
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array
