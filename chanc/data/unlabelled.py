"""Data without labels from files: a folder of images, or arrays by the names of a model's inputs.

FOLDER/**/*.png     FILE.npz with an array for each input     FOLDER/INPUT.npy, one each     FILE.npy, for the one input

An .npz file or a folder of arrays may have `labels` beside the inputs. A fifth of the samples is held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chanc.data import folder
from chanc.data.arrays import read_array, read_arrays
from chanc.data.dataset import Dataset
from chanc.data.iterables import LABELS
from chanc.data.samples import Array, Samples, divided, drawn
from chanc.errors import DataError

Size = tuple[int, int, int]

def read(
    path: Path, inputs: Sequence[str], train: int | None, test: int | None, seed: int, size: Size | None = None
) -> Dataset | Samples | None:
    """What lies there, cut to so many samples of each part; None for a folder that holds neither images nor arrays.

    inputs: the names of the model's. size: of images, C, H, W. Raises: DataError.
    """
    if not path.is_dir():
        return _divided(path, _from_file(path, inputs)).limit(train, test, seed=seed)
    files = sorted(path.glob("*.npy"))
    if files:
        return _divided(path, {file.stem: read_array(file) for file in files}).limit(train, test, seed=seed)
    pictures = folder.images_below(path)
    return _images(path, pictures, train, test, seed, size) if pictures else None


def _from_file(path: Path, inputs: Sequence[str]) -> dict[str, Array]:
    if path.suffix != ".npy":
        return dict(read_arrays(path))
    if len(inputs) != 1:
        raise DataError(f"{path} is one array, the model has {len(inputs)} inputs: {', '.join(inputs)}")
    return {inputs[0]: read_array(path)}


def _divided(path: Path, arrays: dict[str, Array]) -> Samples:
    return divided(path.stem, arrays, arrays.pop(LABELS, None))


def _images(
    path: Path, files: list[Path], train: int | None, test: int | None, seed: int, size: Size | None
) -> Dataset:
    """All pictures below a folder, of one size."""
    if len(files) < 2:
        raise DataError(f"{path} holds a single image: one is needed to train on and another one to judge by")
    held_out = np.zeros(len(files), dtype=bool)
    held_out[drawn(len(files), max(1, round(0.2 * len(files))), 0)] = True
    parts = ([file for file, out in zip(files, held_out, strict=True) if out == part] for part in (False, True))
    first, second = ((part, np.zeros(len(part), np.int64)) for part in parts)
    return folder.load_parts(
        str(path), first, second, (),
        lambda labels: drawn(len(labels), train, seed), lambda labels: drawn(len(labels), test, seed),
        note="images without labels, a fifth of them held out as test part", size=size,
    )  # fmt: skip
