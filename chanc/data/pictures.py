"""Image files as pixels of 0 to 255, with the values that are in them.

8 bits are taken as they are, 16 bits divided by 257 and floats of 0..1 multiplied by 255, both without rounding. EXIF
orientation is applied. What is transparent lies on black, as padding does. A palette stands for its colours, or levels
of grey; CMYK and YCbCr become RGB by Pillow's formulas, without colour profiles. Of several frames the first counts.
Colour of 16 bits is read to 8, which is all that Pillow does.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from chanc.data.dataset import Images, narrowed
from chanc.errors import DataError, MissingDependencyError
from chanc.files import open_regular
from chanc.terminal import printable

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 100_000_000
"""A picture that claims more is refused by its header, before memory is taken for it."""

_GREY = {"1", "L", "LA"}
_FINE = ("I", "F")
"""How the names of Pillow's modes begin that have more than 8 bits: I, I;16, I;16B, F."""


@dataclass(frozen=True)
class Blob:
    """An encoded image in memory, and where it comes from, in words."""

    data: bytes
    where: str

    def __str__(self) -> str:
        return self.where


Source = Path | Blob


class Sources(Sized, Protocol):
    """Encoded images by number."""

    def __getitem__(self, index: int, /) -> Source: ...


@dataclass(frozen=True)
class Decoded:
    """images: [n, C, H, W] of the sources numbered by kept [n]; lost: what is wrong with each other one, by its number.

    resized: how many of the images had another size.
    """

    images: Images
    kept: NDArray[np.int64]
    lost: dict[int, str]
    resized: int


def decode(sources: Sequence[Source], like: tuple[int, ...] | None = None) -> Decoded:
    """Decode image files to the commonest size among them, or to `like`: C, H, W, with few open at a time.

    C is 1 where every image is grey, else 3. Images are uint8 where all their values are whole, else float32.

    Raises: MissingDependencyError without Pillow.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=4) as pool:
        warnings.simplefilter("ignore")  # Pillow's remarks on a file; what can't be read is told below
        if like is None:
            opened = list(pool.map(_open, sources))
            size: tuple[int, ...] = _commonest([picture for picture in opened if not isinstance(picture, str)])
            found = [_sized(picture, size) for picture in opened]
        else:
            size = like
            found = list(pool.map(lambda source: _sized(_open(source), like), sources))
    lost = {index: one for index, one in enumerate(found) if isinstance(one, str)}
    arrays = [one for one in found if not isinstance(one, str)]
    fine = any(array.dtype != np.uint8 for array, _ in arrays)
    out = np.empty((len(arrays), *size), np.float32 if fine else np.uint8)
    for (array, _), target in zip(arrays, out, strict=True):
        target[:] = array
    kept = np.array([index for index in range(len(found)) if index not in lost], np.int64)
    return Decoded(narrowed(out), kept, lost, sum(changed for _, changed in arrays))


def _sized(picture: Image.Image | str, like: tuple[int, ...]) -> tuple[Images, bool] | str:
    """Pixels [C, H, W], C of `like` or 1, and whether their size was another one; a text is what was wrong."""
    if isinstance(picture, str):
        return picture
    channels, height, width = like
    return _array(picture, channels, (width, height)), picture.size != (width, height)


def _commonest(pictures: Sequence[Image.Image]) -> tuple[int, int, int]:
    if not pictures:
        return 1, 1, 1
    (width, height), _ = Counter(picture.size for picture in pictures).most_common(1)[0]
    return 3 if any(picture.mode == "RGB" for picture in pictures) else 1, height, width


def _array(picture: Image.Image, channels: int, size: tuple[int, int]) -> Images:
    """Pixels [C, H, W] of a picture in one of the modes that `_plain` gives."""
    from PIL import Image

    if picture.mode != "F":
        picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    # Bilinear weights don't quite sum up to 1 in floats.
    values: Images = np.asarray(picture).clip(0, 255)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _open(source: Source) -> Image.Image | str:
    """The picture as L, RGB or F (one channel of 0..255, finer than 8 bits), or what is wrong with it."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependencyError("image files are read with Pillow: pip install 'chanc[data]'") from error
    try:
        stream = BytesIO(source.data) if isinstance(source, Blob) else open_regular(source)
        with stream, Image.open(stream) as picture:
            width, height = picture.size
            if not 0 < width * height <= MAX_PIXELS:
                raise DataError(f"it claims {width} x {height} pixels")
            picture.load()
            return _plain(picture)
    except UnidentifiedImageError:
        return printable(f"{source} can't be decoded: no format of images that Pillow knows")
    except Exception as error:  # a damaged file can make a decoder raise nearly anything
        why = str(error).strip() or type(error).__name__
        return printable(f"{source} can't be decoded: {why.splitlines()[0]}")


def _plain(picture: Image.Image) -> Image.Image:
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(_FINE):
        return Image.fromarray(_fine(picture))
    kind = "L" if picture.mode in _GREY else "RGB"
    if picture.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture = Image.alpha_composite(black, picture.convert("RGBA"))
    elif picture.mode == "P":
        picture = picture.convert("RGB")
        kind = "L" if len({band.tobytes() for band in picture.split()}) == 1 else kind
    return picture.convert(kind)


def _fine(picture: Image.Image) -> NDArray[np.float32]:
    """Pixels [H, W] of 0..255 of a picture of 16 bits or of floats."""
    values = np.asarray(picture).astype(np.float64)
    floats = picture.mode == "F"
    low, high = values.min(), values.max()
    # Written so that NaN fails it too.
    if not (low >= 0 and high <= (1 if floats else 65535)):
        raise DataError(f"it holds {low:g} to {high:g}: {'floats are 0..1' if floats else 'whole numbers 0..65535'}")
    return np.asarray(values * 255 if floats else values / 257, np.float32)
