"""An image data set in memory, mostly labelled, and how to cut and fit it: limits, a validation part, another size.

Images stay as they are stored, in NCHW, until a batch is made of them: pixels of 0 to 255, uint8, or float32 where they
are finer than whole numbers. Every random choice comes from `numpy.random.RandomState`,
whose stream numpy has frozen, so that a seed means the same images on every machine and numpy version.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chanc.data.contract import InputContract
from chanc.errors import DataError

Images = NDArray[np.uint8 | np.float32]
Labels = NDArray[np.int64]

MAX_CLASSES = 1_000_000
"""A label beyond it is a mistake in the data, and is refused before memory is taken for so many classes."""

# Rec. 601 luma: what Pillow and most papers mean by "converted to grey".
_LUMA = np.array([0.299, 0.587, 0.114])


UNMIRRORED = ("digits", "mnist", "emnist", "kmnist", "qmnist", "svhn", "usps")
"""Data sets of written characters, by name in lower case: a mirrored one is another, or none."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and held-out images with their labels.

    train_images: [N, C, H, W], pixels of 0..255, uint8 or float32; train_labels: int64 [N], each in
    0..classes-1; the test part likewise. Images without labels have no classes, and zeros for labels.
    mean, std: one number a channel, of pixels scaled to 0..1. note: what was done to the data, in words, or "".
    contract: how the model at hand takes the images; None: standardised by mean and std, channels first.

    Raises: DataError where the arrays don't fit each other.
    """

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    classes: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    note: str = ""
    contract: InputContract | None = None

    def __post_init__(self) -> None:
        _check_part(self.name, "training", self.train_images, self.train_labels, self.classes)
        _check_part(self.name, "test", self.test_images, self.test_labels, self.classes)
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise DataError(
                f"{self.name}: training images are {_size(self.train_images)}, test images {_size(self.test_images)}"
            )
        if len(self.class_names) != self.classes:
            raise DataError(f"{self.name}: {len(self.class_names)} class names for {self.classes} classes")

    @property
    def labelled(self) -> bool:
        """Whether the labels mean anything."""
        return self.classes > 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def counts(self) -> tuple[int, int]:
        """Training images, test images."""
        return len(self.train_labels), len(self.test_labels)

    @property
    def numbers(self) -> int:
        """Numbers in an image."""
        return math.prod(self.shape)

    @property
    def input(self) -> InputContract:
        """How pixels become a model's input."""
        return self.contract or InputContract(1 / 255, self.mean, self.std)

    def metadata(self) -> dict[str, str]:
        """What the metadata of a model that was trained on it tell."""
        return self.input.metadata()

    def fingerprint(self) -> list[object]:
        """What a checkpoint must agree on."""
        parts = (self.train_labels, self.test_labels) if self.labelled else (self.train_images, self.test_images)
        contents = [zlib.crc32(np.ascontiguousarray(part).tobytes()) for part in parts]
        return [list(self.shape), self.classes, *contents, self.metadata()]

    def limit(self, train: int | None = None, test: int | None = None, *, seed: int = 0) -> Dataset:
        """Keep at most `train` and `test` images, in the classes' own proportions; None keeps them all.

        Raises: DataError for a limit below 1.
        """
        chosen = stratified(self.train_labels, train, seed)
        held_out = stratified(self.test_labels, test, seed)
        cut = [
            f"{len(kept)} of {len(labels)} {part} images"
            for part, kept, labels in (("training", chosen, self.train_labels), ("test", held_out, self.test_labels))
            if len(kept) < len(labels)
        ]
        return replace(
            self,
            train_images=self.train_images[chosen],
            train_labels=self.train_labels[chosen],
            test_images=self.test_images[held_out],
            test_labels=self.test_labels[held_out],
            note=_add(self.note, ", ".join(cut)),
        )

    def split(self, fraction: float = 0.2, *, seed: int = 0) -> Dataset:
        """The training images alone, `fraction` of them (stratified) held out in the place of the test part.

        A search trains and selects on this one, so that nothing is ever chosen by the test images.

        Raises: DataError where one of the two parts would be empty.
        """
        count = round(fraction * len(self.train_labels))
        if not 0 < count < len(self.train_labels):
            raise DataError(f"{self.name}: a validation part of {fraction} of {len(self.train_labels)} images is empty")
        held_out = np.zeros(len(self.train_labels), dtype=bool)
        held_out[stratified(self.train_labels, count, seed)] = True
        return replace(
            self,
            train_images=self.train_images[~held_out],
            train_labels=self.train_labels[~held_out],
            test_images=self.train_images[held_out],
            test_labels=self.train_labels[held_out],
            note=_add(self.note, f"{count} training images held out for validation, test images unused"),
        )

    def swapped(self) -> Dataset:
        """The test images to train on, the training images to judge by."""
        return replace(
            self, train_images=self.test_images, train_labels=self.test_labels, test_images=self.train_images,
            test_labels=self.train_labels,
        )  # fmt: skip

    @property
    def augmentation(self) -> dict[str, Any]:
        """Crop padding (pixels, an eighth of the height) and flip that suit the images.

        Images without labels may be of words: they aren't mirrored.
        """
        flip = self.labelled and self.name.lower() not in UNMIRRORED
        return {"crop_padding": max(1, self.shape[1] // 8), "flip": flip}

    def fit_to(self, channels: int, height: int, width: int) -> Dataset:
        """The same images at a model's input size: resized bilinearly, grey repeated, colour turned to luma.

        Raises: DataError for a channel count that no rule leads to.
        """
        if self.shape == (channels, height, width):
            return self
        train = _resize(_recolour(self.train_images, channels, self.name), height, width)
        test = _resize(_recolour(self.test_images, channels, self.name), height, width)
        mean, std = statistics(train)
        note = _add(self.note, f"{_size(self.train_images)} brought to {_size(train)}")
        return replace(self, train_images=train, test_images=test, mean=mean, std=std, note=note, contract=None)


def make(
    name: str,
    train: tuple[Images, Labels],
    test: tuple[Images, Labels],
    *,
    class_names: tuple[str, ...] | None = None,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    note: str = "",
) -> Dataset:
    """A `Dataset` whose classes are counted and whose mean and std are measured where they are not given.

    class_names: empty where there are no labels. Raises: DataError where the parts are no images with labels.
    """
    if class_names is None:
        class_names = numbered(name, train[1], test[1])
    for part, (images, labels) in (("training", train), ("test", test)):
        _check_part(name, part, images, labels, len(class_names))
    mean, std = normalisation or statistics(train[0])
    return Dataset(name, *train, *test, len(class_names), class_names, mean, std, note)


def numbered(name: str, train: Labels, test: Labels) -> tuple[str, ...]:
    """The classes 0 to the largest label, by number. Raises: DataError for an empty part or a label out of range."""
    if not len(train) or not len(test):
        raise DataError(f"{name}: the {'test' if len(train) else 'training'} part has no images")
    top = max(int(as_labels(f"{name}: a label", part).max()) for part in (train, test))
    return tuple(str(label) for label in range(top + 1))


def as_labels(where: str, values: NDArray[np.generic], classes: int = MAX_CLASSES) -> Labels:
    """Integers [N] or [N, 1] as labels, each in 0..classes-1.

    where: what is read, in words. Raises: DataError that names the first row with another value.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(f"{where} must hold one integer an image, not {values.dtype} {list(values.shape)}")
    wrong = np.less(values, 0) | np.greater_equal(values, classes)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{where} [{row}] is {values[row]}: labels are whole numbers from 0 to {classes - 1}")
    return values.astype(np.int64)


def narrowed(images: Images) -> Images:
    """The same images as uint8 where all their values are whole, but for float32's last bits."""
    if images.dtype == np.uint8 or not all(_whole(image) for image in images):
        return images
    return np.rint(images).astype(np.uint8)


def _whole(image: Images) -> bool:
    return bool(np.abs(image - np.rint(image)).max(initial=0) < 1e-4)


def statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, pixels scaled to 0..1; a constant channel has std 1.

    Counted over a histogram of the 256 values, of 65,536 where they are finer: integer sums don't depend on the order
    of summation.
    """
    steps = 1 if images.dtype == np.uint8 else 257
    top = 255 * steps
    levels = np.arange(top + 1)
    means, deviations = [], []
    for channel in range(images.shape[1]):
        values = images[:, channel].ravel()
        counts = np.bincount(values if steps == 1 else np.rint(values * steps).astype(np.int64), minlength=top + 1)
        mean = float((counts * levels).sum()) / float(counts.sum())
        variance = float((counts * levels**2).sum()) / float(counts.sum()) - mean**2
        means.append(mean / top)
        deviations.append(variance**0.5 / top if variance > 1e-9 * steps**2 else 1.0)
    return tuple(means), tuple(deviations)


def stratified(labels: Labels, count: int | None, seed: int) -> NDArray[np.int64]:
    """Indices, ascending, of `count` samples in the classes' own proportions (largest remainders); None: of all.

    Raises: DataError for a count below 1.
    """
    if count is None or count >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    if count < 1:
        raise DataError(f"a limit of {count} images leaves no data")
    present = np.bincount(labels)
    exact = present * count / len(labels)
    quota = np.floor(exact).astype(np.int64)
    quota[np.argsort(quota - exact, kind="stable")[: count - int(quota.sum())]] += 1
    order = np.random.RandomState(seed % 2**32).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(present) - present, present)
    return np.sort(by_class[rank < np.repeat(quota, present)]).astype(np.int64)


def _check_part(name: str, part: str, images: Images, labels: Labels, classes: int) -> None:
    if images.dtype not in (np.uint8, np.float32) or images.ndim != 4 or 0 in images.shape[1:]:
        raise DataError(
            f"{name}: {part} images must be uint8 or float32 [N, C, H, W], not {images.dtype} {list(images.shape)}"
        )
    # Written so that NaN fails it too.
    if images.dtype == np.float32 and len(images) and not (images.min() >= 0 and images.max() <= 255):
        raise DataError(f"{name}: {part} images hold values outside 0..255")
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise DataError(f"{name}: {part} labels must be int64 [N], not {labels.dtype} {list(labels.shape)}")
    if len(images) != len(labels):
        raise DataError(f"{name}: {len(images)} {part} images but {len(labels)} labels")
    if not len(labels):
        raise DataError(f"{name}: the {part} part has no images")
    if int(labels.min()) < 0 or int(labels.max()) >= max(classes, 1):
        raise DataError(f"{name}: a {part} label lies outside 0..{classes - 1}")


def _recolour(images: Images, channels: int, name: str) -> Images:
    present = images.shape[1]
    if present == channels:
        return images
    if present == 1:
        return np.repeat(images, channels, axis=1)
    if (present, channels) == (3, 1):
        return _stored(np.einsum("nchw,c->nhw", images, _LUMA)[:, None], images)
    raise DataError(f"{name} has images of {present} channels, the model takes {channels}")


def _resize(images: Images, height: int, width: int) -> Images:
    """Separable bilinear resize with pixel centres aligned; made by blocks to bound the float copies."""
    if images.shape[2:] == (height, width):
        return images
    rows, columns = _bilinear(images.shape[2], height), _bilinear(images.shape[3], width)
    out = np.empty((*images.shape[:2], height, width), images.dtype)
    for start in range(0, len(images), 256):
        block = images[start : start + 256].astype(np.float64)
        out[start : start + 256] = _stored(rows @ block @ columns.T, images)
    return out


def _stored(values: NDArray[np.float64], like: Images) -> Images:
    """Values rounded where whole numbers are stored."""
    return np.asarray(np.rint(values) if like.dtype == np.uint8 else np.clip(values, 0, 255), like.dtype)


def _bilinear(old: int, new: int) -> NDArray[np.float64]:
    """Weights [new, old]; a triangle as wide as the step when shrinking, so that no pixel is skipped."""
    step = old / new
    centres = (np.arange(new) + 0.5) * step - 0.5
    distance = np.abs(np.arange(old)[None] - np.clip(centres, 0, old - 1)[:, None]) / max(step, 1.0)
    weights = np.clip(1 - distance, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _size(images: Images) -> str:
    return "x".join(str(extent) for extent in images.shape[1:])


def _add(note: str, more: str) -> str:
    return "; ".join(part for part in (note, more) if part)
