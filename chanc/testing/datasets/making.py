"""Small data sets that are in order, from which the damaged ones are made."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GREY = np.arange(0, 160, 10, dtype=np.uint8).reshape(4, 4)
"""What a picture of `folders` holds where nothing else is said."""


def encoded(picture: Image.Image, kind: str = "png", **options: Any) -> bytes:
    """A picture as the content of a file."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def png(values: NDArray[np.generic] = GREY) -> bytes:
    """An array as a PNG file."""
    return encoded(Image.fromarray(values))


def folders(root: Path, **files: bytes) -> Path:
    """Two classes of two grey pictures each, 4 x 4, for training and test; `files` replaces or adds, a__0: a/0.png."""
    content = {f"{kind}/{number}.png": png() for kind in "ab" for number in range(2)}
    content |= {name.replace("__", "/") + ("" if "." in name else ".png"): data for name, data in files.items()}
    for part, wanted in (("train", content), ("test", {f"{kind}/0.png": png() for kind in "ab"})):
        for name, data in wanted.items():
            path = root / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return root


def first(data: bytes) -> Callable[[Path], Path]:
    """Build class folders whose first picture is a file of this content, whatever its suffix says."""
    return lambda root: folders(root, a__0=data)


def arrays(root: Path, **given: NDArray[np.generic]) -> Path:
    """An .npz file of three grey images, 4 x 4, for training and test, with what is `given` instead."""
    images, labels = np.stack([GREY] * 3), np.arange(3)
    path = root / "set.npz"
    np.savez(path, **{"x_train": images, "y_train": labels, "x_test": images, "y_test": labels, **given})  # type: ignore[arg-type]
    return path
