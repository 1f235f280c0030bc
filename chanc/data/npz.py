"""An .npz file with training and test arrays, under Keras's names or MedMNIST's."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chanc.data.dataset import Dataset, Images, Labels, make
from chanc.errors import DataError

_NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)


def read(path: Path) -> Dataset:
    """Images [N, H, W], [N, H, W, C] or [N, C, H, W], of integers 0..255 or floats 0..1; labels [N] or [N, 1].

    Pickled objects inside are refused.

    Raises: DataError.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = next((names for names in _NAMES if all(name in archive for name in names)), None)
            if names is None:
                raise DataError(f"{path} holds {sorted(archive)}: expected {' or '.join(', '.join(n) for n in _NAMES)}")
            x_train, y_train, x_test, y_test = (archive[name] for name in names)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} can't be read as an .npz file: {str(error).splitlines()[0]}") from error
    train = _images(path, names[0], x_train), _labels(path, names[1], y_train)
    test = _images(path, names[2], x_test), _labels(path, names[3], y_test)
    return make(path.stem, train, test)


def _images(path: Path, name: str, values: NDArray[np.generic]) -> Images:
    if values.ndim == 3:
        values = values[:, None]
    elif values.ndim == 4 and values.shape[3] in (1, 3, 4):
        values = values.transpose(0, 3, 1, 2)
    if values.ndim != 4:
        raise DataError(f"{path}: {name} is {list(values.shape)}, expected [N, H, W], [N, H, W, C] or [N, C, H, W]")
    return np.ascontiguousarray(_pixels(path, name, values))


def _pixels(path: Path, name: str, values: NDArray[np.generic]) -> Images:
    if values.dtype == np.uint8 or not values.size:
        return values.astype(np.uint8)
    top = 1.0 if np.issubdtype(values.dtype, np.floating) else 255
    # Written so that NaN fails it too.
    if not (values.dtype.kind in "iuf" and values.min() >= 0 and values.max() <= top):
        raise DataError(f"{path}: {name} must hold integers 0..255 or floats 0..1, not {values.dtype} beyond them")
    return np.asarray(np.rint(values.astype(np.float64) * (255 / top)), np.uint8)


def _labels(path: Path, name: str, values: NDArray[np.generic]) -> Labels:
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(f"{path}: {name} must hold one integer an image, not {values.dtype} {list(values.shape)}")
    return values.astype(np.int64)
