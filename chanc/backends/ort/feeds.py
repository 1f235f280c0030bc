"""Random inputs for a model whose sizes may be open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from chanc.backends.ort.run import Array, run, session
from chanc.errors import ModelError
from chanc.ir import load
from chanc.ops import channels_taken, weight_of

OPEN_SIZE = 64
"""Size of a dynamic axis other than the batch, where nothing says what it has to be."""

CANDIDATES = (64, 224, 32, 48, 96, 128, 256, 512, 1024, 16000)
"""Sizes that `fitting_feeds` tries in turn: those of common images, and a second of audio."""

_LARGEST = 1 << 25
"""Numbers in an input that is worth a try: a second of audio, but no image of 16000 x 16000."""

_INTEGERS_BELOW = 4


def random_feeds(
    model: Any, seed: int = 0, *, batch: int = 2, sizes: Mapping[str, int] | None = None, default: int = OPEN_SIZE
) -> dict[str, Array]:
    """Values for every graph input that isn't an initializer: standard normal floats, integers in 0..3, booleans.

    Args:
        model: anything that `chanc.ir.load` takes.
        seed: the same seed gives the same values.
        batch: size of a dynamic first axis.
        sizes: sizes of dynamic axes by the name of the dimension, or by "<input>:<axis>".
        default: size of other dynamic axes; a channel axis takes what the convolution behind it needs.

    Raises:
        ModelError: an input has no known rank or element type, or one that can't be filled (strings, sequences).
    """
    loaded = load(model, copy=False)
    generator = np.random.default_rng(seed)
    return {
        str(value.name): _fill(value, _shape(value, batch, dict(sizes or {}), default), generator)
        for value in _to_fill(loaded)
    }


def _to_fill(model: ir.Model) -> list[ir.Value]:
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def fitting_feeds(
    model: Any, seed: int = 0, *, batch: int = 2, sizes: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """`random_feeds` with the first size of `CANDIDATES` that onnxruntime runs, at `batch`, else at a batch of 1.

    Raises:
        ModelError: no size runs; the message is that of the first attempt.
    """
    loaded = load(model, copy=False)
    opened = session(loaded)
    first: ModelError | None = None
    for count in dict.fromkeys((batch, 1)):
        tried: set[tuple[tuple[int, ...], ...]] = set()
        for default in CANDIDATES:
            shapes = tuple(_shape(value, count, dict(sizes or {}), default) for value in _to_fill(loaded))
            if shapes in tried or (tried and max(map(math.prod, shapes)) > _LARGEST):
                continue
            tried.add(shapes)
            feeds = random_feeds(loaded, seed, batch=count, sizes=sizes, default=default)
            try:
                run(opened, feeds)
            except ModelError as error:
                first = first or error
            else:
                return feeds
    raise first or ModelError("the model has no inputs that could be filled")


def _shape(value: ir.Value, batch: int, sizes: dict[str, int], default: int) -> tuple[int, ...]:
    if value.shape is None:
        raise ModelError(f"input {value.name!r} has no shape: its rank is unknown, so it can't be filled")
    shape = []
    for axis, size in enumerate(value.shape):
        key = f"{value.name}:{axis}"
        symbol = None if isinstance(size, int) else size.value
        if isinstance(size, int) and size > 0:
            shape.append(size)
        elif key in sizes or symbol in sizes:
            shape.append(sizes.get(key, sizes.get(symbol or "", default)))
        else:
            shape.append(batch if axis == 0 else _channels(value, axis) or default)
    return tuple(shape)


def _channels(value: ir.Value, axis: int) -> int | None:
    """Channels that a convolution of `value` takes, where the axis is the channel axis."""
    for node in value.consumers() if axis == 1 else ():
        kernel = weight_of(node, 1)
        weight = node.inputs[1] if kernel is not None and kernel.kernel else None
        if kernel is not None and weight is not None and weight.const_value is not None:
            return channels_taken(kernel, node.attributes, weight.const_value.shape.numpy())
    return None


def _fill(value: ir.Value, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    dtype = value.dtype
    if dtype is None or not isinstance(value.type, ir.TensorType) or dtype == ir.DataType.STRING:
        raise ModelError(f"input {value.name!r} is of type {value.type}, which can't be filled with random numbers")
    kind = dtype.numpy()
    if dtype == ir.DataType.BOOL:
        return generator.integers(0, 2, shape).astype(bool)
    if dtype.is_integer():
        return generator.integers(0, _INTEGERS_BELOW, shape).astype(kind)
    return generator.standard_normal(shape).astype(kind)
