"""Samples of any kind as the inputs of a model take them: names, shapes and element types."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from chanc.backends.ort import random_feeds
from chanc.data import Data, DataSource, data_for
from chanc.data.samples import Array, Arrays, Samples
from chanc.errors import DataError
from chanc.ir.sizes import per_sample, sizes_of
from chanc.ir.turns import Turns
from chanc.training.images import fixed_batch, fixed_size
from chanc.transforms.full_precision import HALVES

_KINDS = {"f": "fractions", "i": "whole numbers", "u": "whole numbers", "b": "truth values"}
RANDOM = 256, 64
"""How many random samples are made up, to train on and to judge by."""


def inputs_of(model: ir.Model) -> dict[str, ir.Value]:
    """What a model has to be given, by name, in order."""
    return {value.name or "": value for value in model.graph.inputs if value.name not in model.graph.initializers}


def fit_samples(model: ir.Model, data: Samples) -> Samples:
    """The samples as they are, in the element types of the model's inputs; halves become float32.

    Where all arrays have an axis more than the inputs, each sample is a run of its own (`chanc.ir.turns`).

    Raises: DataError, naming the input, for arrays of other names, kinds or sizes, and for what is no number.
    """
    wanted = inputs_of(model)
    if wanted.keys() != data.train.keys():
        raise DataError(f"{data.name} has arrays for {_listed(data.train)}; the model's inputs are {_listed(wanted)}")
    whole = Turns.of(model).whole(data.train)
    train, test = ({name: _fitted(data.name, value, part[name], 0 if whole else 1) for name, value in wanted.items()}
                   for part in (data.train, data.test))  # fmt: skip
    return replace(data, train=train, test=test)


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _fitted(source: str, value: ir.Value, array: Array, first: int) -> Array:
    """An array as an input takes it. first: of the input's axes that a sample has."""
    shape, dtype = value.shape, value.dtype
    if first and shape is not None and not len(shape):
        raise DataError(f"{source}: the model takes '{value.name}' once for a whole batch: give a run for each sample, "
                        "arrays [N, ...] that all have an axis more than the inputs")  # fmt: skip
    if shape is not None:
        sample = list(shape)[first:]
        wrong = len(sample) != array.ndim - 1 or any(
            isinstance(want, int) and want > 0 and want != have
            for want, have in zip(sample, array.shape[1:], strict=False)
        )
        if wrong:
            told = "x".join(str(size) for size in sample)
            have = "x".join(map(str, array.shape[1:]))
            raise DataError(f"{source}: a sample of '{value.name}' is {have or 'one number'}, "
                            f"the model takes {told or 'one number'}")  # fmt: skip
    kind = np.dtype(np.float32) if dtype is None or dtype in HALVES else dtype.numpy()
    if _KINDS.get(kind.kind) != _KINDS[array.dtype.kind]:
        hint = ": pixels are fed as they are, so make them what the model takes" if array.dtype == np.uint8 else ""
        raise DataError(f"{source} has {array.dtype} for '{value.name}', the model takes {kind}{hint}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{source}: '{value.name}' holds NaN or Inf")
    return np.ascontiguousarray(array, dtype=kind)


def random_samples(
    model: ir.Model, train: int | None = None, test: int | None = None, *, seed: int = 0,
    sizes: Mapping[str, int] | None = None,
) -> Samples:  # fmt: skip
    """Random inputs for whoever asks for them: standard normal numbers, small integers (`random_feeds`).

    sizes: of open axes. Raises: ModelError for inputs that can't be filled.
    """
    first, second = (_random(model, count, seed + number, sizes)
                     for number, count in enumerate((train or RANDOM[0], test or RANDOM[1])))  # fmt: skip
    note = "made-up inputs: what is learned on them may not hold on real ones"
    return Samples("random", first, second, note=note)


def data_of(
    model: ir.Model, source: DataSource, root: str | os.PathLike[str] | None, train: int | None, test: int | None,
    seed: int, sizes: Mapping[str, int] | None = None,
) -> Data:  # fmt: skip
    """Data for the inputs of a model, at most so many training and test samples of them; "random" makes them up.

    Raises: as `chanc.data.data_for` and `random_samples`.
    """
    if isinstance(source, str) and source == "random":
        return random_samples(model, train, test, seed=seed, sizes=sizes)
    return data_for(
        source, list(inputs_of(model)), size=fixed_size(model), root=root, limit_train=train, limit_test=test, seed=seed
    )


def _random(model: ir.Model, count: int, seed: int, sizes: Mapping[str, int] | None) -> Arrays:
    """So many samples; a model of a fixed batch gets several, one that knows of no batch whole runs."""
    at_once = Turns.of(model).batch or count
    found = random_feeds(model, seed, batch=at_once, sizes=sizes)
    if any(array.shape[:1] != (at_once,) for array in found.values()):
        runs = [random_feeds(model, seed + 1000 * k, batch=1, sizes=sizes) for k in range(count)]
        return {name: np.stack([one[name] for one in runs]) for name in found}
    rounds = [found, *(random_feeds(model, seed + 1000 * k, batch=at_once, sizes=sizes)
                       for k in range(1, -(-count // at_once)))]  # fmt: skip
    return {name: np.concatenate([one[name] for one in rounds])[:count] for name in found}


def sizes_seen(model: ir.Model, data: Data) -> dict[str, int]:
    """The sizes of a model's open axes, but for a batch, in the data as they fit it."""
    if isinstance(data, Samples):
        if Turns.of(model).whole(data.train):
            return dict(sizes_of(model, None, {name: array.shape[1:] for name, array in data.train.items()}))
        first = {name: fixed_batch(value) or 1 for name, value in inputs_of(model).items()}
        shapes = {name: (first[name], *array.shape[1:]) for name, array in data.train.items()}
    else:
        channels, height, width = data.shape
        sample = (channels, height, width) if data.input.layout == "NCHW" else (height, width, channels)
        ((name, value),) = inputs_of(model).items()
        shapes = {name: (fixed_batch(value) or 1, *sample)}
    return dict(per_sample(model, sizes_of(model, None, shapes)))
