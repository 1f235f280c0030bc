""".npz files: values that pixels and labels may have or not, and headers and archives that lie."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chanc.testing.datasets import Case
from chanc.testing.datasets.making import GREY, arrays

Array = NDArray[np.generic]

_THREE = np.stack([GREY] * 3)
_IMAGES = _THREE[:, None]
_SHARES = np.linspace(0, 1, 48).reshape(3, 4, 4)


def _with(**given: object) -> Callable[[Path], Path]:
    return lambda root: arrays(root, **{name: np.asarray(values) for name, values in given.items()})


def _first_is(value: object, kind: str) -> Array:
    """The images as `kind`, with one other value in the second of them."""
    values = _THREE.astype(kind)
    if np.dtype(kind).kind == "f":
        values = values / np.dtype(kind).type(255)
    values[1, 2, 2] = value
    return values


def _member(data: bytes, method: int = zipfile.ZIP_STORED) -> Callable[[Path], Path]:
    """The training images' file in the archive replaced by other bytes."""

    def build(root: Path) -> Path:
        path = arrays(root)
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, old in content.items():
                archive.writestr(name, data if name == "x_train.npy" else old)
        return path

    return build


def _header(shape: object, kind: str = "|u1", data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


def _saved(values: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)
    return stream.getvalue()


def _changed(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """The whole archive with other bytes."""

    def build(root: Path) -> Path:
        path = arrays(root)
        path.write_bytes(change(path.read_bytes()))
        return path

    return build


def _claimed(data: bytes) -> bytes:
    """The size of the first file in the archive's directory, 10^9 too large."""
    at = data.index(b"PK\x01\x02") + 24
    return data[:at] + (10**9).to_bytes(4, "little") + data[at + 4 :]


def _locked(data: bytes) -> bytes:
    at = data.index(b"PK\x01\x02") + 8
    return data[:at] + b"\x01" + data[at + 1 :]


def _flipped(data: bytes) -> bytes:
    at = data.index(GREY.tobytes()) + 5
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _single(root: Path) -> Path:
    np.save(root / "set.npy", _THREE)
    return root / "set.npy"


def _other_names(root: Path) -> Path:
    np.savez(root / "set.npz", images=_THREE)
    return root / "set.npz"


_WIDE = _THREE.astype(np.uint16) * 300
_COLOUR = np.asfortranarray(np.stack([_THREE, 255 - _THREE, _THREE // 2], 3))

CASES = [
    Case("npz: grey", _with(), _IMAGES),
    Case("npz: colour, by columns", _with(x_train=_COLOUR, x_test=_COLOUR), np.moveaxis(_COLOUR, 3, 1)),
    Case("npz: the other byte order", _with(x_train=_THREE.astype(">i4"), y_train=np.arange(3, dtype=">i2")), _IMAGES),
    Case("npz: compressed zeros", _member(_saved(np.zeros((3, 400, 400), np.uint8)), zipfile.ZIP_DEFLATED),
         says="training images are 1x400x400, test images 1x4x4"),
    Case("npz: floats that 8 bits hold", _with(x_train=_first_is(1, "f4")), _IMAGES[:1]),
    Case("npz: floats between", _with(x_train=_SHARES), 255 * _SHARES[:, None]),
    Case("npz: float16", _with(x_train=_SHARES.astype(np.float16)),
         255 * _SHARES.astype(np.float16)[:, None].astype(float)),
    Case("npz: 16 bits", _with(x_train=_WIDE), _WIDE[:, None] / 257),
    Case("npz: labels in a column", _with(y_train=np.arange(3)[:, None]), _IMAGES),
    Case("npz: an integer of 256", _with(x_train=_first_is(256, "i8")), says="[1] has 256 (int64)"),
    Case("npz: a negative integer", _with(x_train=_first_is(-1, "i2")), says="[1] has -1 (int16)"),
    Case("npz: a float of 2", _with(x_train=_first_is(2, "f4")), says="[1] has 2.0 (float32)"),
    Case("npz: a negative float", _with(x_train=_first_is(-0.5, "f8")), says="[1] has -0.5 (float64)"),
    Case("npz: not a number", _with(x_train=_first_is(np.nan, "f4")), says="x_train must hold integers 0..255"),
    Case("npz: infinity", _with(x_train=_first_is(np.inf, "f2")), says="[1] has inf"),
    Case("npz: complex", _with(x_train=_THREE.astype(complex)), says="x_train must hold integers 0..255"),
    Case("npz: true and false", _with(x_train=_THREE > 9), says="x_train must hold integers 0..255"),
    Case("npz: text", _with(x_train=_THREE.astype("U3")), says="x_train must hold integers 0..255"),
    Case("npz: records", _with(x_train=np.zeros((3, 4, 4), "u1,u1")), says="x_train must hold integers 0..255"),
    Case("npz: pickled objects", _with(x_train=np.array([{}] * 3, object)),
         says="x_train holds object values"),
    Case("npz: five axes", _with(x_train=_THREE[..., None, None]), says="x_train is [3, 4, 4, 1, 1], expected"),
    Case("npz: no axes", _with(x_train=np.uint8(3)), says="x_train is [], expected"),
    Case("npz: images without pixels", _with(x_train=np.zeros((3, 0, 4), np.uint8)), says="x_train holds no pixels"),
    Case("npz: 10^9 images without pixels", _member(_header((10**9, 0, 4))), says="x_train holds no pixels"),
    Case("npz: no images", _with(x_test=_THREE[:0], y_test=np.arange(0)), says="x_test holds no pixels"),
    Case("npz: other sizes in test", _with(x_test=_THREE[:, :3]), says="training images are 1x4x4, test images 1x3x4"),
    Case("npz: a label of 10^12", _with(y_train=[0, 10**12, 1]), says="y_train [1] is 1000000000000: labels are"),
    Case("npz: a label of 2^63", _with(y_train=np.array([2**63, 0, 1], np.uint64)),
         says="y_train [0] is 9223372036854775808"),
    Case("npz: a label of 10^12 in test", _with(y_test=[0, 1, 10**12]), says="y_test [2] is 1000000000000"),
    Case("npz: a label of -1", _with(y_train=[0, 1, -1]), says="y_train [2] is -1"),
    Case("npz: labels of floats", _with(y_train=[0.0, 1.0, 2.0]),
         says="y_train must hold one integer an image, not float64"),
    Case("npz: labels one hot", _with(y_train=np.eye(3, dtype=int)),
         says="y_train must hold one integer an image, not int64 [3, 3]"),
    Case("npz: labels of text", _with(y_train=["a", "b", "c"]), says="y_train must hold one integer an image"),
    Case("npz: fewer labels", _with(y_train=[0, 1]), says="3 training images but 2 labels"),
    Case("npz: a header of 10^12 images", _member(_header((10**12, 4, 4), data=bytes(48))),
         says="x_train has 48 bytes of values for uint8 [1000000000000, 4, 4]"),
    Case("npz: a header of 10^12 floats", _member(_header((10**6, 1000, 1000), "<f8")),
         says="x_train has 0 bytes of values for"),
    Case("npz: a header of 2^70 values", _member(_header((2**35, 2**35, 1))), says="x_train has 0 bytes of values for"),
    Case("npz: a header below zero", _member(_header((-3, -4, 4), data=bytes(48))), says="set.npz"),
    Case("npz: a header without values", _member(_header((3, 4, 4), "|V0")), says="set.npz"),
    Case("npz: a header of code", _member(_header("__import__('os').abort()", data=bytes(48))),
         says="set.npz is not an .npz file"),
    Case("npz: a header of brackets", _member(b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 8192),
         says="set.npz is not an .npz file"),
    Case("npz: a header of version 3", _member(_header((3, 4, 4), version=b"\x03\x00")),
         says="x_train is of version 3.0"),
    Case("npz: no header", _member(b"P5 4 4 255\n"), says="set.npz is not an .npz file"),
    Case("npz: an empty member", _member(b""), says="set.npz is not an .npz file"),
    Case("npz: a member cut off", _member(_saved(_THREE)[:-5]), says="x_train has 43 bytes of values for"),
    Case("npz: other names", _other_names, says="holds ['images']: expected"),
    Case("npz: cut off", _changed(lambda data: data[:300]), says="set.npz is not an .npz file"),
    Case("npz: empty", _changed(lambda data: b""), says="set.npz is not an .npz file"),
    Case("npz: text in place of it", _changed(lambda data: b"not a zip\n"), says="set.npz is not an .npz file"),
    Case("npz: a flipped bit", _changed(_flipped), says="set.npz is not an .npz file"),
    Case("npz: a directory that claims 10^9 bytes", _changed(_claimed), says="x_train claims 1000000000 bytes"),
    Case("npz: encrypted", _changed(_locked), says="set.npz is not an .npz file"),
    Case("npy: an array alone", _single, says="set.npy is no .npz file and no folder"),
]  # fmt: skip
