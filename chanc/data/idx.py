"""The idx layout of MNIST and its kin: four files, plain or gzipped. Fashion-MNIST is checked by MD5.

Layout of an idx file: two zero bytes, a type byte (8: uint8), the number of axes, each extent as a big-endian
32-bit integer, then the values in row-major order.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chanc.data.dataset import Dataset, Images, Labels, make
from chanc.data.download import DEFLATE, check_md5, fetch, read_bytes
from chanc.errors import DataError

_URL = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"

# File name without .gz: MD5 of the official .gz, MD5 of the content. Packagers recompress, so a file that is found
# is judged by its content.
_FASHION = {
    "train-images-idx3-ubyte": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    "train-labels-idx1-ubyte": ("25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
    "t10k-images-idx3-ubyte": ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
    "t10k-labels-idx1-ubyte": ("bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
}
_FILES = tuple(_FASHION)
_HEADER = 16
"""Bytes of the longer header, that of images; labels have values there already."""
_FASHION_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def is_layout(folder: Path) -> bool:
    """Whether any of the four files lies in `folder`."""
    return any(_locate(folder, name) for name in _FILES)


def read(folder: Path) -> Dataset:
    """Any folder in the idx layout, its files checked by their own headers alone.

    Raises: DataError for a missing or damaged file.
    """
    contents = {name: _content(folder, name) for name in _FILES}
    return make(str(folder), *_parts(folder, contents))


def read_fashion(root: Path) -> Dataset:
    """Fashion-MNIST from the data folder `root` or from its official source, each file checked by its MD5.

    Raises: DataError for a damaged file, or where nothing is found and nothing can be downloaded.
    """
    folder = next((place for place in _places(root) if is_layout(place)), root / "fashion-mnist")
    advice = f"put {', '.join(f'{name}.gz' for name in _FILES)} into {root / 'fashion-mnist'}"
    for name, (compressed, _) in _FASHION.items():
        if _locate(folder, name) is None:
            fetch(f"{_URL}{name}.gz", folder / f"{name}.gz", compressed, advice=advice)
    contents = {name: _content(folder, name) for name in _FILES}
    for name, (_, md5) in _FASHION.items():
        check_md5(str(_locate(folder, name)), contents[name], md5)
    return make("fashion-mnist", *_parts(folder, contents), class_names=_FASHION_NAMES)


def _places(root: Path) -> tuple[Path, ...]:
    # FashionMNIST/raw is torchvision's, usr/share/datasets is that of Debian's package.
    names = ("fashion-mnist", "fashion", "FashionMNIST/raw", "usr/share/datasets/fashion-mnist", "")
    return (*(root / name for name in names), Path("/usr/share/datasets/fashion-mnist"))


def _locate(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _content(folder: Path, name: str) -> bytes:
    path = _locate(folder, name)
    if path is None:
        raise DataError(f"{folder}: {name} or {name}.gz is missing")
    data = read_bytes(path)
    if path.suffix != ".gz":
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            head = file.read(_HEADER)
            # No more is unpacked than the header claims and such a file can hold: little bytes may be a lot of zeros.
            return head + file.read(min(_values(head), len(data) * DEFLATE) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _parts(folder: Path, contents: dict[str, bytes]) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
    arrays = [_parse(f"{folder / name}", contents[name], axes) for name, axes in zip(_FILES, (3, 1, 3, 1), strict=True)]
    for name, images in zip(_FILES[::2], arrays[::2], strict=True):
        if not images.size:
            raise DataError(f"{folder / name} holds no pixels: its shape is {list(images.shape)}")
    train, test = ((arrays[k][:, None], arrays[k + 1].astype(np.int64)) for k in (0, 2))
    return train, test


def _values(head: bytes) -> int:
    """How many values follow, by the first bytes of an idx file; of none, where it is none."""
    axes = head[3] if len(head) == _HEADER else 0
    return math.prod(struct.unpack(f">{axes}I", head[4 : 4 + 4 * axes])) if axes in (1, 3) else 0


def _parse(name: str, data: bytes, axes: int) -> NDArray[np.uint8]:
    header = 4 + 4 * axes
    if len(data) < header or data[:4] != bytes((0, 0, 8, axes)):
        raise DataError(f"{name} is not an idx file of uint8 with {axes} axes")
    shape = struct.unpack(f">{axes}I", data[4:header])
    if len(data) - header != math.prod(shape):
        raise DataError(f"{name} is damaged: {len(data) - header} bytes of values for the shape {list(shape)}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
