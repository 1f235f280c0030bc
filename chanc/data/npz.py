"""An .npz file with training and test arrays, under Keras's names or MedMNIST's.

Arrays are read by their headers alone: no pickle, and no memory for a size that the file doesn't hold.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chanc.data.dataset import Dataset, Images, Labels, as_labels, make, narrowed
from chanc.data.download import DEFLATE
from chanc.errors import DataError
from chanc.files import open_regular

_NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_SHOWN = 8


def read(path: Path) -> Dataset:
    """Images [N, H, W], [N, H, W, C] or [N, C, H, W], of integers 0..255, uint16 or floats 0..1; labels [N] or [N, 1].

    uint16 beyond 255 is divided by 257 and floats are multiplied by 255, without rounding.

    Raises: DataError.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            present = sorted(name.removesuffix(".npy") for name in archive.namelist())
            names = next((names for names in _NAMES if set(names) <= set(present)), None)
            if names is None:
                wanted = " or ".join(", ".join(each) for each in _NAMES)
                raise DataError(f"{path} holds {present[:_SHOWN]}: expected {wanted}")
            x_train, y_train, x_test, y_test = (_array(path, archive, name) for name in names)
    except DataError:
        raise
    except Exception as error:  # a damaged archive or header can raise nearly anything
        why = str(error).strip() or type(error).__name__
        raise DataError(f"{path} can't be read as an .npz file: {why.splitlines()[0]}") from error
    train = _images(path, names[0], x_train), _labels(path, names[1], y_train)
    test = _images(path, names[2], x_test), _labels(path, names[3], y_test)
    return make(str(path), train, test)


def _array(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[np.generic]:
    """An array whose header claims just the bytes that follow it, and no more of those than the archive can hold."""
    info = archive.getinfo(f"{name}.npy")
    where = f"{path}: {name}"
    if info.file_size > info.compress_size * DEFLATE:
        raise DataError(f"{where} claims {info.file_size} bytes in {info.compress_size} of the archive")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise DataError(f"{where} is an array file of version {version[0]}.{version[1]}: 1.0 and 2.0 are read")
        shape, by_columns, dtype = _HEADERS[version](file)
        if dtype.hasobject or not dtype.itemsize:
            raise DataError(f"{where} can't be read: it holds {dtype} values, which may be any code")
        rest = info.file_size - file.tell()
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != rest:
            raise DataError(f"{where} is damaged: {rest} bytes of values for {dtype} {list(shape)}")
        return np.frombuffer(file.read(rest), dtype).reshape(shape, order="F" if by_columns else "C")


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
        return values.astype(np.uint8)
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
