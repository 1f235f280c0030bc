"""Folders of images, one folder a class; and what a part of encoded images becomes, which Parquet shares.

train/CLASS/*.png with test/CLASS/*.png (or val, valid, validation), or CLASS/*.png alone

An image that can't be read is left out, which the data set's note says; where nothing is left of a class, that is an
error. Names that begin with a dot, as those that macOS leaves beside its files (._x.png), and __MACOSX are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chanc.data.dataset import Dataset, Images, Labels, make, numbered, stratified
from chanc.data.pictures import Blob, Decoded, Source, Sources, decode
from chanc.errors import DataError

Choose = Callable[[Labels], NDArray[np.int64]]

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif"}
_TEST_NAMES = ("test", "val", "valid", "validation")
_SPLIT_SEED = 0


def is_layout(folder: Path) -> bool:
    """Whether `folder` holds classes as folders with images in them, split into train and test or not."""
    train = folder / "train"
    classes = _classes(train if train.is_dir() else folder)
    return any(images_below(place) for place in classes)


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
    size: tuple[int, int, int] | None = None,
) -> Dataset:
    """Decode the chosen images of both parts into a `Dataset`; without class names there are no labels.

    class_names: None to number them. size: C, H, W of all images, the commonest where there is none.

    Raises: DataError where a part, or a class of it, has images and none that can be read.
    """
    if class_names is None:
        class_names = numbered(name, train[1], test[1])
    notes = [note] if note else []
    parts: list[tuple[Images, Labels]] = []
    resized = 0
    for part, (sources, labels), choose in (("training", train, choose_train), ("test", test, choose_test)):
        chosen = choose(labels)
        picked = [sources[int(index)] for index in chosen]
        decoded = decode(picked, like=parts[0][0].shape[1:] if parts else size)
        notes += _remarks(part, picked, decoded, len(labels), told_jpeg=bool(parts))
        _refuse_empty(f"{name}: {part}", class_names, labels[chosen], decoded)
        parts.append((decoded.images, labels[chosen][decoded.kept]))
        resized += decoded.resized
    if resized:
        told = "the commonest size" if size is None else "x".join(map(str, size))
        notes.append(f"{resized} images resized to {told}")
    return make(name, *parts, class_names=class_names, note="; ".join(notes))


def _remarks(part: str, picked: list[Source], decoded: Decoded, present: int, *, told_jpeg: bool) -> list[str]:
    remarks = []
    # Said, because a lossy copy of a known data set must not pass for the original beside a figure.
    if not told_jpeg and picked and _is_jpeg(picked[0]):
        remarks.append("JPEG images")
    if len(picked) < present:
        remarks.append(f"{len(picked)} of {present} {part} images")
    if decoded.lost:
        first = next(iter(decoded.lost.values()))
        remarks.append(f"{len(decoded.lost)} of {len(picked)} {part} images left out, the first: {first}")
    if decoded.images.dtype != np.uint8:
        remarks.append(f"{part} images of more than 8 bits")
    return remarks


def _refuse_empty(where: str, class_names: tuple[str, ...], labels: Labels, decoded: Decoded) -> None:
    left = set(labels[decoded.kept].tolist())
    for index, why in decoded.lost.items():
        if labels[index] not in left:
            what = f"no image of {class_names[labels[index]]!r}" if left and class_names else "no image"
            raise DataError(f"{where}: {what} can be read: {why}")


def _is_jpeg(source: Source) -> bool:
    if isinstance(source, Blob):
        return source.data.startswith(b"\xff\xd8\xff")
    return source.suffix.lower() in (".jpg", ".jpeg")


def _listing(folder: Path, names: tuple[str, ...] | None) -> tuple[list[Path], Labels, tuple[str, ...]]:
    """Files, labels and class names; with `names` given, a folder of another name is an error."""
    classes = _classes(folder)
    training = names is None
    names = names or tuple(place.name for place in classes)
    files: list[Path] = []
    labels: list[int] = []
    for place in classes:
        if place.name not in names:
            raise DataError(f"{place} is a class that the training part does not have")
        found = images_below(place)
        if training and not found:
            raise DataError(f"{place} holds no images ({', '.join(sorted(_SUFFIXES))}): a class has some, or no folder")
        files += found
        labels += [names.index(place.name)] * len(found)
    if not files:
        raise DataError(f"{folder} holds no images in class folders")
    return files, np.array(labels, np.int64), names


def _classes(folder: Path) -> list[Path]:
    return sorted(place for place in folder.iterdir() if place.is_dir() and not _passed_over(place.name))


def images_below(folder: Path) -> list[Path]:
    """All image files below a folder, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES and path.is_file()
        if not any(map(_passed_over, path.relative_to(folder).parts))
    )


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
