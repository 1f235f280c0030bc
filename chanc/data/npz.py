"""An .npz file with training and test arrays, under Keras's names or MedMNIST's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chanc.data.arrays import names_in, read_arrays
from chanc.data.dataset import Dataset, Images, Labels, as_labels, make, narrowed
from chanc.errors import DataError

_NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)
_SHOWN = 8


def is_layout(path: Path) -> bool:
    """Whether an .npz file has arrays of one of the known names. Raises: DataError for a file that is none."""
    present = names_in(path)
    return any(present & set(names) for names in _NAMES)


def read(path: Path) -> Dataset:
    """Images [N, H, W], [N, H, W, C] or [N, C, H, W], of integers 0..255, uint16 or floats 0..1; labels [N] or [N, 1].

    uint16 beyond 255 is divided by 257 and floats are multiplied by 255, without rounding.

    Raises: DataError.
    """
    held = read_arrays(path, lambda present: _names(path, present))
    x_train, y_train, x_test, y_test = held
    train = _images(path, x_train, held[x_train]), _labels(path, y_train, held[y_train])
    test = _images(path, x_test, held[x_test]), _labels(path, y_test, held[y_test])
    return make(str(path), train, test)


def _names(path: Path, present: list[str]) -> tuple[str, ...]:
    """Images and labels of training, images and labels of test, as they are called in the file."""
    for names in _NAMES:
        if set(names) <= set(present):
            return names
    raise DataError(f"{path} holds {sorted(present)[:_SHOWN]}: expected {' or '.join(map(', '.join, _NAMES))}")


def _images(path: Path, name: str, values: NDArray[np.generic]) -> Images:
    if values.ndim == 3:
        values = values[:, None]
    elif values.ndim == 4 and values.shape[3] in (1, 3, 4):
        values = values.transpose(0, 3, 1, 2)
    if values.ndim != 4:
        raise DataError(f"{path}: {name} is {list(values.shape)}, expected [N, H, W], [N, H, W, C] or [N, C, H, W]")
    if not values.size:
        raise DataError(f"{path}: {name} holds no pixels: its shape is {list(values.shape)}")
    return np.ascontiguousarray(_pixels(path, name, values))


def _pixels(path: Path, name: str, values: NDArray[np.generic]) -> Images:
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    top = {"f": 1, "i": 255, "u": 255}.get(values.dtype.kind, -1)
    fine = values.dtype == np.uint16 and values.max() > top
    if fine:
        top = 65535
    # Written so that NaN fails it too.
    wrong = ~(np.greater_equal(values, 0) & np.less_equal(values, top)) if top > 0 else np.ones(values.shape, bool)
    if wrong.any():
        row = int(wrong.any(axis=(1, 2, 3)).argmax())
        found = values[row][wrong[row]][0]
        raise DataError(
            f"{path}: {name} must hold integers 0..255, uint16 or floats 0..1, and [{row}] has {found} ({values.dtype})"
        )
    scale = 1 / 257 if fine else 255 / top
    return narrowed((values.astype(np.float64) * scale).astype(np.float32)) if scale != 1 else values.astype(np.uint8)


def _labels(path: Path, name: str, values: NDArray[np.generic]) -> Labels:
    return as_labels(f"{path}: {name}", values)
