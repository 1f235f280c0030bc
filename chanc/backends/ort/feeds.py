"""Inputs for a model whose sizes may be open: random ones, or the user's own from a file."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.backends.ort.ids import INTEGERS_BELOW, below
from chanc.backends.ort.open_sizes import free_axes, shapes
from chanc.backends.ort.run import Array, run, session
from chanc.backends.ort.told_sizes import lengths
from chanc.data.arrays import read_arrays
from chanc.errors import DataError, MissingDependencyError, ModelError
from chanc.ir import copy_model, load
from chanc.ir.normalize import normalize
from chanc.ir.sizes import Sizes, per_sample, sizes_of
from chanc.ir.turns import Turns

OPEN_SIZE = 64
"""Size of a dynamic axis other than the batch, where nothing says what it has to be."""

CANDIDATES = (64, 224, 32, 48, 96, 128, 256, 512, 1024, 16000, 28, 8, 16, 112, 160, 299, 320, 384, 640)
"""Sizes that `fitting_feeds` tries in turn: those of common images, a second of audio, and a few words."""

_EACH = {2: 6, 3: 3}
"""Lengths that are tried together, by the number of axes that are open: some thirty pairs, or triples."""

_MOST = 1 << 27
"""Numbers in an input that is made up at all: a volume of 512^3. A file may claim any size."""

_LARGEST = 1 << 25
"""Numbers in an input that is worth a try: a second of audio, but no image of 16000 x 16000."""


def read_feeds(path: str | os.PathLike[str], model: Any) -> dict[str, Array]:
    """The inputs of a model from an .npz file: an array for each input that isn't an initializer, by its name.

    Raises:
        DataError: the file can't be read as one, or an input is missing, unknown, or of another rank; with an axis more
            all are whole runs (`chanc.ir.turns`).
    """
    feeds = read_arrays(path)
    loaded = load(model, copy=False)
    wanted = {str(value.name): value for value in _to_fill(loaded)}
    optional = {value.name for value in loaded.graph.inputs}
    wrong = sorted((wanted.keys() - feeds.keys()) | (feeds.keys() - optional))
    if wrong:
        raise DataError(f"{os.fspath(path)} holds {sorted(feeds)}; the model's inputs are {sorted(wanted)}")
    whole = Turns.of(loaded).whole({name: feeds[name] for name in wanted})
    for name, value in wanted.items():
        if value.shape is not None and len(value.shape) != feeds[name].ndim - whole:
            raise DataError(f"{os.fspath(path)}: input '{name}' has {len(value.shape)} axes, not {feeds[name].ndim}")
    return feeds


def random_feeds(
    model: Any,
    seed: int = 0,
    *,
    batch: int = 2,
    sizes: Mapping[str, int] | None = None,
    default: int = OPEN_SIZE,
    largest: int = INTEGERS_BELOW,
) -> dict[str, Array]:
    """Values for every graph input that isn't an initializer: standard normal floats, small integers, booleans.

    Args:
        model: anything that `chanc.ir.load` takes.
        seed: the same seed gives the same values.
        batch: size of a dynamic first axis.
        sizes: sizes of dynamic axes by the name of the dimension, or by "<input>:<axis>".
        default: size of other dynamic axes; a channel axis takes what the layer behind it needs.
        largest: integers are below it, and below the rows of the tables that they are looked up in.

    Raises:
        ModelError: an input has no known rank or element type, or one that can't be filled (strings, sequences), or is
            too large.
    """
    return _random(_to_fill(load(model, copy=False)), seed, batch, sizes, default, largest)


def _random(
    inputs: list[ir.Value], seed: int, batch: int, sizes: Mapping[str, int] | None, default: int, largest: int
) -> dict[str, Array]:
    chosen = shapes(inputs, batch, dict(sizes or {}), default)
    for name, shape in chosen.items():
        if math.prod(shape) > _MOST:
            raise ModelError(f"input {name!r} of {list(shape)} is too large to be filled with random numbers")
    generator = np.random.default_rng(seed)
    return {str(value.name): _fill(value, chosen[str(value.name)], largest, generator) for value in inputs}


def candidate_feeds(
    model: Any, seed: int = 0, *, batch: int = 2, sizes: Mapping[str, int] | None = None
) -> Iterator[dict[str, Array]]:
    """`random_feeds` of usual sizes and of those that the graph tells, at `batch` and at 1; then all integers zero.

    Raises: ModelError, as `random_feeds`.
    """
    loaded = load(model, copy=False)
    inputs, given = _to_fill(loaded), dict(sizes or {})
    integers = any(value.dtype is not None and value.dtype.is_integer() for value in inputs)
    tried: set[tuple[Any, ...]] = set()
    for largest in (INTEGERS_BELOW, 1) if integers else (INTEGERS_BELOW,):
        for count, default, more in _choices(loaded, inputs, batch, given, pairs=largest > 1):
            chosen = tuple(shapes(inputs, count, more, default).values())
            if (largest, chosen) in tried or (tried and max(map(math.prod, chosen)) > _LARGEST):
                continue
            tried.add((largest, chosen))
            yield _random(inputs, seed, count, more, default, largest)


def _choices(
    model: ir.Model, inputs: list[ir.Value], batch: int, given: Mapping[str, int], *, pairs: bool
) -> Iterator[tuple[int, int, Mapping[str, int]]]:
    """Batch, size of open axes, and sizes by name: one size for all axes first, with `pairs` at last one for each."""
    free = free_axes(inputs, given)
    yield from ((count, size, given) for count in (batch, 1) for size in (CANDIDATES if free else CANDIDATES[:1]))
    if not free:
        return
    twin = copy_model(model)
    normalize(twin)
    told = lengths(twin.graph)
    yield from ((count, size, given) for count in (batch, 1) for size in told)
    likely = told[: _EACH.get(len(free), 0)] if pairs else []
    for each in itertools.product(likely, repeat=len(free)):
        yield from ((count, OPEN_SIZE, {**dict(zip(free, each, strict=True)), **given}) for count in (batch, 1))


def fitting_feeds(
    model: Any, seed: int = 0, *, batch: int = 2, sizes: Mapping[str, int] | None = None, opened: Any = None
) -> dict[str, Array]:
    """The first of `candidate_feeds` that onnxruntime runs. `opened`, a session of the model, saves making one.

    Raises:
        LoadError: onnxruntime can't load the model.
        ModelError: it runs none of them; the message is that of the first attempt.
    """
    loaded = load(model, copy=False)
    opened = session(loaded) if opened is None else opened
    first: ModelError | None = None
    for feeds in candidate_feeds(loaded, seed, batch=batch, sizes=sizes):
        try:
            run(opened, feeds)
        except ModelError as error:
            first = first or error
        else:
            return feeds
    raise first or ModelError("the model has no inputs that could be filled")


def likely_sizes(model: Any) -> Sizes | None:
    """Sizes of a model's open axes, but for the batch, at which onnxruntime runs it: none where none is open.

    None where onnxruntime isn't there, or runs it at no size that was tried. Raises: ModelError for a model that can't
    be read.
    """
    loaded = load(model, copy=False)
    try:
        if not free_axes(_to_fill(loaded), {}):
            return {}
        feeds = fitting_feeds(loaded, batch=1)
    except (MissingDependencyError, ModelError):
        return None
    return per_sample(loaded, sizes_of(loaded, None, {name: array.shape for name, array in feeds.items()}))


def _to_fill(model: ir.Model) -> list[ir.Value]:
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def _fill(value: ir.Value, shape: tuple[int, ...], largest: int, generator: np.random.Generator) -> Array:
    dtype = value.dtype
    if dtype is None or not isinstance(value.type, ir.TensorType) or dtype == ir.DataType.STRING:
        raise ModelError(f"input {value.name!r} is of type {value.type}, which can't be filled with random numbers")
    kind = dtype.numpy()
    if dtype == ir.DataType.BOOL:
        return generator.integers(0, 2, shape).astype(bool)
    if dtype.is_integer():
        return generator.integers(0, min(largest, below(value)), shape).astype(kind)
    return generator.standard_normal(shape).astype(kind)
