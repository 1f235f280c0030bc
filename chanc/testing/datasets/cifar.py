"""CIFAR's files with other bytes than the originals, whose checksums are known."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chanc.testing.datasets import Case

_PIXELS = np.arange(3072 * 3, dtype=np.uint32).reshape(3, 3072).astype(np.uint8)


def _binary(coarse: int = 9, fine: int = 99) -> bytes:
    """Three records of CIFAR-100, whose binary files have no published checksum."""
    labels = np.array([[coarse, 0], [coarse, 1], [coarse, fine]], np.uint8)
    return np.concatenate([labels, _PIXELS], axis=1).tobytes()


def _with(train: bytes) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        (root / "train.bin").write_bytes(train)
        (root / "test.bin").write_bytes(_binary())

    return build


def _file(name: str, data: bytes) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        (root / name).write_bytes(data)

    return build


def _batches(data: bytes) -> Callable[[Path], None]:
    """CIFAR-10 as pickles, all with the same content."""

    def build(root: Path) -> None:
        for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
            (root / name).write_bytes(data)

    return build


_PICKLE = pickle.dumps({b"data": _PIXELS, b"labels": [0, 1, 10**12]}, protocol=3)
_CODE = b"cos\nsystem\n(S'exit 1'\ntR."

CASES = [
    Case("cifar: binary", _with(_binary()), _PIXELS.reshape(3, 3, 32, 32), "no MD5 is published"),
    Case("cifar: half a record", _with(_binary()[:-1000]),
         says="train.bin is damaged: 8222 bytes are not whole records"),
    Case("cifar: no record", _with(b""), says="train.bin is damaged: 0 bytes"),
    Case("cifar: a label of 200", _with(_binary(fine=200)),
         says="train.bin: label [2] is 200: labels are whole numbers from 0 to 99"),
    Case("cifar: other pickles", _batches(_PICKLE), says="data_batch_1 is damaged or not the original: its MD5 is"),
    Case("cifar: pickles with code", _batches(_CODE), says="data_batch_1 is damaged or not the original: its MD5 is"),
    Case("cifar: a batch alone", _file("test_batch", _PICKLE), says="data_batch_1 is missing"),
    Case("cifar: another archive", _file("cifar-10-python.tar.gz", b"\x1f\x8b" + bytes(99)),
         says="is damaged or not the original"),
]  # fmt: skip
