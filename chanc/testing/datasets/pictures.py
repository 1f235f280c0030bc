"""Pictures of every kind: what is in the file is what comes out, in units of 0 to 255."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chanc.testing.datasets import Case
from chanc.testing.datasets.making import GREY, encoded, first, png

Array = NDArray[np.generic]

_WIDE = np.array([[2000, 60000], [0, 65535]], np.uint16).repeat(2, 0).repeat(2, 1)
_SHARE = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
_RED = np.zeros((4, 4, 3), np.uint8) + np.array([200, 10, 30], np.uint8)
_LEFT_OUT = "1 of 4 training images left out, the first: "


def _claiming(width: int, height: int) -> bytes:
    """A PNG file of a hundred bytes that claims this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def _turned(number: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = number
    return encoded(Image.fromarray(GREY), exif=exif)


def _palette(**options: Any) -> bytes:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 200, 10, 30])
    return encoded(picture, **options)


def _greys() -> bytes:
    picture = Image.fromarray(GREY).convert("P")
    picture.putpalette([level for level in range(256) for _ in range(3)])
    return encoded(picture)


def _with_alpha(values: Array, alpha: int) -> bytes:
    channels = values[..., None] if values.ndim == 2 else values
    return png(np.concatenate([channels, np.full((4, 4, 1), alpha)], axis=2).astype(np.uint8))


def _frames(kind: str) -> bytes:
    return encoded(Image.fromarray(GREY), kind, save_all=True, append_images=[Image.fromarray(255 - GREY)])


def _tiff(values: Array) -> bytes:
    return encoded(Image.fromarray(values), "tiff")


def _grey(values: Array) -> Array:
    return np.asarray(values, np.float64).reshape(1, 1, *values.shape)


def _colour(*pixel: float) -> Array:
    values: Array = np.zeros((1, 3, 4, 4)) + np.array(pixel)[:, None, None]
    return values


def _as_pillow_reads(data: bytes) -> Array:
    values: Array = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    return values.transpose(2, 0, 1)[None]


_JPEG = encoded(Image.fromarray(_RED), "jpeg")
_CMYK = encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "tiff")
_PIXELMAP = b"P5 4 4 65535\n" + _WIDE.astype(">u2").tobytes()
_FINE = "training images of more than 8 bits"

_READ: dict[str, tuple[bytes, Array, str]] = {
    "8 bits": (png(), _grey(GREY), ""),
    "1 bit": (png(np.eye(4, dtype=bool)), _grey(255 * np.eye(4)), ""),
    "16 bits, PNG": (png(_WIDE), _grey(_WIDE / 257), _FINE),
    "16 bits, TIFF": (_tiff(_WIDE), _grey(_WIDE / 257), _FINE),
    "16 bits, PGM": (_PIXELMAP, _grey(_WIDE / 257), _FINE),
    "16 bits that 8 can hold": (png(GREY.astype(np.uint16) * 257), _grey(GREY), ""),
    "32 bits, TIFF": (_tiff(_WIDE.astype(np.int32)), _grey(_WIDE / 257), _FINE),
    "floats": (_tiff(_SHARE), _grey(255 * _SHARE.astype(np.float64)), ""),
    "floats between levels": (_tiff(_SHARE / 7), _grey(255 / 7 * _SHARE.astype(np.float64)), _FINE),
    "EXIF: upside down": (_turned(3), _grey(GREY[::-1, ::-1]), ""),
    "EXIF: a quarter turn": (_turned(6), _grey(np.rot90(GREY, -1)), ""),
    "EXIF: mirrored": (_turned(2), _grey(GREY[:, ::-1]), ""),
    "alpha half": (_with_alpha(_RED, 128), _colour(100, 5, 15), ""),
    "alpha none": (_with_alpha(_RED, 0), _colour(0, 0, 0), ""),
    "alpha full": (_with_alpha(_RED, 255), _colour(200, 10, 30), ""),
    "grey with alpha": (_with_alpha(np.full((4, 4), 200), 128), _grey(np.full((4, 4), 100)), ""),
    "grey with a transparent level": (encoded(Image.fromarray(GREY), transparency=150), _grey(GREY % 150), ""),
    "palette": (_palette(), _colour(200, 10, 30), ""),
    "palette with a transparent colour": (_palette(transparency=1), _colour(0, 0, 0), ""),
    "palette of greys": (_greys(), _grey(GREY), ""),
    "palette with alpha": (_palette(transparency=b"\xff\x80"), _colour(100, 5, 15), ""),
    "GIF of frames": (_frames("gif"), _grey(GREY), ""),
    "TIFF of pages": (_frames("tiff"), _grey(GREY), ""),
    "CMYK": (_CMYK, _colour(255, 0, 0), ""),
    "JPEG": (_JPEG, _as_pillow_reads(_JPEG), ""),
    "colour among grey": (png(_RED), _colour(200, 10, 30), ""),
}

_LOST: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "no format of images that Pillow knows"),
    "text": (b"not a picture\n" * 20, "no format of images that Pillow knows"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "no format of images"),
    "cut off PNG": (png(np.arange(4096, dtype=np.uint16).reshape(64, 64) ** 2)[:2000], "can't be decoded"),
    "cut off JPEG": (_JPEG[:-20], "Truncated"),
    "flipped bits": (bytes(byte ^ 255 if 45 < at < 55 else byte for at, byte in enumerate(png())), "can't be decoded"),
    "11000 x 11000 claimed": (_claiming(11000, 11000), "it claims 11000 x 11000 pixels"),
    "30000 x 30000 claimed": (_claiming(30000, 30000), "can't be decoded"),
    "2^31 x 2^31 claimed": (_claiming(2**31 - 1, 2**31 - 1), "can't be decoded"),
    "no pixels, PNG": (_claiming(0, 0), "can't be decoded"),
    "no pixels, PGM": (b"P5 0 4 255\n", "can't be decoded"),
    "no pixels, GIF": (b"GIF89a" + bytes(7) + b",", "can't be decoded"),
    "floats beyond 1": (_tiff(_SHARE * 300), "it holds 0 to 300: floats are 0..1"),
    "floats that are none": (_tiff(np.full((4, 4), np.nan, np.float32)), "it holds nan to nan"),
    "whole numbers beyond 16 bits": (_tiff(np.full((4, 4), 70000, np.int32)), "70000: whole numbers 0..65535"),
    "whole numbers below 0": (_tiff(np.full((4, 4), -1, np.int32)), "it holds -1 to -1"),
}

CASES = [
    *(Case(f"picture: {name}", first(data), pixels, says) for name, (data, pixels, says) in _READ.items()),
    *(Case(f"picture: {name}", first(data), _grey(GREY), says) for name, (data, says) in _LOST.items()),
    Case("picture: the left out one is named", first(b"x"), _grey(GREY), "a/0.png can't be decoded"),
    Case("picture: how many are left out", first(b"x"), _grey(GREY), _LEFT_OUT),
]
