"""The four files of the idx layout, plain or gzipped, whose headers and bodies disagree."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chanc.testing.datasets import Case
from chanc.testing.datasets.making import GREY

_IMAGES = np.stack([GREY] * 3)
_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _file(values: NDArray[np.generic], shape: tuple[int, ...] | None = None, kind: int = 8) -> bytes:
    shape = shape or values.shape
    return bytes((0, 0, kind, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + values.tobytes()


def _with(images: bytes | None = None, labels: bytes | None = None, packed: bool = False) -> Callable[[Path], None]:
    """Three images for training and test, one training file replaced; packed: as .gz, where it isn't already."""

    def build(root: Path) -> None:
        content = [_file(_IMAGES), _file(np.arange(3, dtype=np.uint8))] * 2
        content[0], content[1] = images or content[0], labels or content[1]
        for name, data in zip(_FILES, content, strict=True):
            ready = data[:2] == b"\x1f\x8b"
            whole = gzip.compress(data) if packed and not ready else data
            (root / (f"{name}.gz" if packed or ready else name)).write_bytes(whole)

    return build


def _missing(root: Path) -> None:
    _with()(root)
    (root / _FILES[3]).unlink()


_ZEROS = gzip.compress(_file(np.arange(3, dtype=np.uint8)) + bytes(4 << 20))

CASES = [
    Case("idx: plain", _with(), _IMAGES[:, None]),
    Case("idx: gzipped", _with(packed=True), _IMAGES[:, None]),
    Case("idx: a file missing", _missing, says="t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz is missing"),
    Case("idx: cut off", _with(_file(_IMAGES)[:-1]), says="train-images-idx3-ubyte is damaged: 47 bytes of values"),
    Case("idx: too long", _with(_file(_IMAGES) + b"x"), says="train-images-idx3-ubyte is damaged: 49 bytes of values"),
    Case("idx: cut off while gzipped", _with(gzip.compress(_file(_IMAGES))[:-9], packed=True),
         says="ubyte.gz is damaged"),
    Case("idx: 2^32 images claimed", _with(_file(_IMAGES, (2**32 - 1, 4, 4))), says="48 bytes of values for the shape"),
    Case("idx: 2^96 values claimed while gzipped", _with(_file(_IMAGES, (2**32 - 1,) * 3), packed=True),
         says="48 bytes of values"),
    Case("idx: 4 MB of zeros behind the labels", _with(labels=_ZEROS), says="train-labels-idx1-ubyte is damaged: "),
    Case("idx: images without pixels", _with(_file(_IMAGES[:, :0])), says="train-images-idx3-ubyte holds no pixels"),
    Case("idx: no images", _with(_file(_IMAGES[:0])), says="train-images-idx3-ubyte holds no pixels"),
    Case("idx: fewer labels", _with(labels=_file(np.arange(2, dtype=np.uint8))), says="3 training images but 2 labels"),
    Case("idx: integers of 32 bits", _with(_file(_IMAGES.astype(">i4"), kind=12)),
         says="is not an idx file of uint8 with 3 axes"),
    Case("idx: labels in place of images", _with(_file(np.arange(3, dtype=np.uint8))),
         says="is not an idx file of uint8"),
    Case("idx: empty file", _with(labels=b"\0"), says="train-labels-idx1-ubyte is not an idx file"),
    Case("idx: text", _with(b"<html>404</html>"), says="train-images-idx3-ubyte is not an idx file"),
]  # fmt: skip
