"""Folders of images, one folder a class; and the decoding of image files, which Parquet shares.

train/CLASS/*.png with test/CLASS/*.png (or val, valid, validation), or CLASS/*.png alone
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from chanc.data.dataset import Dataset, Images, Labels, make, stratified
from chanc.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    from PIL import Image


class Sources(Sized, Protocol):
    """Encoded images by number: paths of files or their content."""

    def __getitem__(self, index: int, /) -> Path | bytes: ...


Choose = Callable[[Labels], NDArray[np.int64]]

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"}
_TEST_NAMES = ("test", "val", "valid", "validation")
_SPLIT_SEED = 0
_GREY_MODES = {"1", "L", "LA", "I;16"}


def is_layout(folder: Path) -> bool:
    """Whether `folder` holds classes as folders with images in them, split into train and test or not."""
    train = folder / "train"
    classes = _classes(train if train.is_dir() else folder)
    return any(_files(place) for place in classes)


def read(folder: Path, choose_train: Choose, choose_test: Choose) -> Dataset:
    """Images of one size, or resized to the commonest; `choose_*` picks by labels what is decoded at all.

    Without a test folder a fifth of every class is held out, always the same one.

    Raises: DataError; MissingDependencyError without Pillow.
    """
    if not (folder / "train").is_dir():
        files, labels, names = _listing(folder, None)
        held_out = np.zeros(len(labels), dtype=bool)
        held_out[stratified(labels, max(1, round(0.2 * len(labels))), _SPLIT_SEED)] = True
        train, test = ([p for p, h in zip(files, held_out, strict=True) if h == part] for part in (False, True))
        return load_parts(
            str(folder), (train, labels[~held_out]), (test, labels[held_out]), names, choose_train, choose_test,
            note="a fifth of the images held out as test part",
        )  # fmt: skip
    held_out_folder = next((folder / name for name in _TEST_NAMES if (folder / name).is_dir()), None)
    if held_out_folder is None:
        raise DataError(f"{folder} has train but no test or val folder beside it")
    files, labels, names = _listing(folder / "train", None)
    test_files, test_labels, _ = _listing(held_out_folder, names)
    return load_parts(str(folder), (files, labels), (test_files, test_labels), names, choose_train, choose_test)


def load_parts(
    name: str,
    train: tuple[Sources, Labels],
    test: tuple[Sources, Labels],
    class_names: tuple[str, ...] | None,
    choose_train: Choose,
    choose_test: Choose,
    *,
    note: str = "",
) -> Dataset:
    """Decode the chosen image files (paths or their content) of both parts into a `Dataset`."""
    if not len(train[1]) or not len(test[1]):
        raise DataError(f"{name}: the {'test' if len(train[1]) else 'training'} part has no images")
    if class_names is None:
        class_names = tuple(str(label) for label in range(int(max(train[1].max(), test[1].max())) + 1))
    chosen, held_out = choose_train(train[1]), choose_test(test[1])
    images, resized = decode([train[0][int(k)] for k in chosen], name)
    test_images, more = decode([test[0][int(k)] for k in held_out], name, like=images.shape[1:])
    notes = [note] if note else []
    # Said, because a lossy copy of a known data set must not pass for the original beside a figure.
    if _is_jpeg(train[0][int(chosen[0])]):
        notes.append("JPEG images")
    for part, kept, labels in (("training", chosen, train[1]), ("test", held_out, test[1])):
        if len(kept) < len(labels):
            notes.append(f"{len(kept)} of {len(labels)} {part} images")
    if resized + more:
        notes.append(f"{resized + more} images resized to the commonest size")
    return make(
        name, (images, train[1][chosen]), (test_images, test[1][held_out]), class_names=class_names,
        note="; ".join(notes),
    )  # fmt: skip


def decode(sources: Sequence[Path | bytes], name: str, like: tuple[int, ...] | None = None) -> tuple[Images, int]:
    """Images [N, C, H, W] of encoded files, and how many of them were resized.

    C is 1 where every image is grey, else 3; `like` (C, H, W) prescribes the result.

    Raises: DataError for what is no image; MissingDependencyError without Pillow.
    """
    if not sources:
        raise DataError(f"{name}: one part has no images")
    with ThreadPoolExecutor(max_workers=4) as pool:
        pictures = list(pool.map(lambda source: _open(source, name), sources))
    if like is None:
        grey = all(picture.mode in _GREY_MODES for picture in pictures)
        (width, height), _ = Counter(picture.size for picture in pictures).most_common(1)[0]
        like = (1 if grey else 3, height, width)
    channels, height, width = like
    out = np.empty((len(pictures), channels, height, width), np.uint8)
    for picture, target in zip(pictures, out, strict=True):
        target[:] = _array(picture, channels, (width, height))
    return out, sum(picture.size != (width, height) for picture in pictures)


def _is_jpeg(source: Path | bytes) -> bool:
    if isinstance(source, bytes):
        return source.startswith(b"\xff\xd8\xff")
    return source.suffix.lower() in (".jpg", ".jpeg")


def _array(picture: Image.Image, channels: int, size: tuple[int, int]) -> Images:
    from PIL import Image

    picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    values = np.asarray(picture, dtype=np.uint8)
    return values[None] if channels == 1 else values.transpose(2, 0, 1)


def _open(source: Path | bytes, name: str) -> Image.Image:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError("image files are read with Pillow: pip install 'chanc[data]'") from error
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            picture.load()
            return picture.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        which = f"an image in {name}" if isinstance(source, bytes) else str(source)
        raise DataError(f"{which} can't be decoded: {str(error).splitlines()[0]}") from error


def _listing(folder: Path, names: tuple[str, ...] | None) -> tuple[list[Path], Labels, tuple[str, ...]]:
    """Files, labels and class names; with `names` given, a folder of another name is an error."""
    classes = _classes(folder)
    names = names or tuple(place.name for place in classes)
    files: list[Path] = []
    labels: list[int] = []
    for place in classes:
        if place.name not in names:
            raise DataError(f"{place} is a class that the training part does not have")
        found = _files(place)
        files += found
        labels += [names.index(place.name)] * len(found)
    if not files:
        raise DataError(f"{folder} holds no images in class folders")
    return files, np.array(labels, np.int64), names


def _classes(folder: Path) -> list[Path]:
    return sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
