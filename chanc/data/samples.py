"""Samples of any kind in memory: an array for each input of a model, by its name, fed as they are.

What `chanc.data.dataset` is for labelled images, this is for everything else: several inputs, sound, words, volumes,
images that somebody has normalised already.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chanc.errors import DataError

Array = NDArray[Any]
Arrays = Mapping[str, Array]
"""[N, ...] each, by the names of a model's inputs."""

HELD_OUT = 0.2
"""The share of samples that are held out where nobody says which."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Training and held-out samples, with labels or without.

    train: arrays [N, ...] by input; train_labels: [N, ...], whatever the task makes of them; the test part likewise.
    note: what was done to the data, in words, or "".

    Raises: DataError where the arrays don't fit each other.
    """

    name: str
    train: Arrays
    test: Arrays
    train_labels: Array | None = None
    test_labels: Array | None = None
    note: str = ""

    def __post_init__(self) -> None:
        parts = ("training", self.train, self.train_labels), ("test", self.test, self.test_labels)
        for part, arrays, labels in parts:
            _check_part(f"{self.name}: {part}", arrays if labels is None else {**arrays, "labels": labels})
        shapes = [{key: value.shape[1:] for key, value in part.items()} for part in (self.train, self.test)]
        if shapes[0] != shapes[1] or (self.train_labels is None) != (self.test_labels is None):
            raise DataError(f"{self.name}: training and test samples have other names, shapes or labels")

    @property
    def labelled(self) -> bool:
        """Whether there are labels."""
        return self.train_labels is not None

    @property
    def counts(self) -> tuple[int, int]:
        """Training samples, test samples."""
        return count_of(self.train), count_of(self.test)

    @property
    def numbers(self) -> int:
        """Numbers in the inputs of one sample."""
        return sum(value[0].size for value in self.train.values())

    @property
    def augmentation(self) -> dict[str, Any]:
        """None: nobody knows what leaves such a sample what it is."""
        return {}

    def metadata(self) -> dict[str, str]:
        """Nothing that a model's metadata would have to tell."""
        return {}

    def fingerprint(self) -> list[object]:
        """What a checkpoint must agree on."""
        parts = [self.train, self.test, {"train": self.train_labels, "test": self.test_labels}]
        return [[name, list(value.shape), zlib.crc32(np.ascontiguousarray(value).tobytes())]
                for arrays in parts for name, value in arrays.items() if value is not None]  # fmt: skip

    def limit(self, train: int | None = None, test: int | None = None, *, seed: int = 0) -> Samples:
        """Keep at most so many samples of each part, drawn by the seed. Raises: DataError for a limit below 1."""
        chosen, held_out = (drawn(count, most, seed) for count, most in zip(self.counts, (train, test), strict=True))
        return replace(
            self,
            train={name: value[chosen] for name, value in self.train.items()},
            test={name: value[held_out] for name, value in self.test.items()},
            train_labels=None if self.train_labels is None else self.train_labels[chosen],
            test_labels=None if self.test_labels is None else self.test_labels[held_out],
        )

    def split(self, fraction: float = HELD_OUT, *, seed: int = 0) -> Samples:
        """The training samples alone, `fraction` of them, drawn by the seed, held out in the place of the test part.

        Raises: DataError where one of the two parts would be empty.
        """
        count, whole = round(fraction * self.counts[0]), self.counts[0]
        if not 0 < count < whole:
            raise DataError(f"{self.name}: a validation part of {fraction} of {whole} samples is empty")
        held_out = np.zeros(whole, dtype=bool)
        held_out[drawn(whole, count, seed)] = True
        parts = [{name: value[part] for name, value in self.train.items()} for part in (~held_out, held_out)]
        labels = [None if self.train_labels is None else self.train_labels[part] for part in (~held_out, held_out)]
        return replace(self, train=parts[0], test=parts[1], train_labels=labels[0], test_labels=labels[1])

    def swapped(self) -> Samples:
        """The test samples to train on, the training samples to judge by."""
        return replace(
            self, train=self.test, test=self.train, train_labels=self.test_labels, test_labels=self.train_labels
        )


def divided(name: str, arrays: Arrays, labels: Array | None = None, *, note: str = "") -> Samples:
    """Samples of which a fifth, always the same, is held out. Raises: DataError for less than two samples."""
    everything = arrays if labels is None else {**arrays, "labels": labels}
    _check_part(name, everything)
    count = count_of(arrays)
    if count < 2:
        raise DataError(f"{name} has a single sample: one is needed to train on and another one to judge by")
    held_out = np.zeros(count, dtype=bool)
    held_out[drawn(count, max(1, round(HELD_OUT * count)), 0)] = True
    train, test = ({key: value[part] for key, value in arrays.items()} for part in (~held_out, held_out))
    first, second = (None, None) if labels is None else (labels[~held_out], labels[held_out])
    return Samples(name, train, test, first, second, note)


def count_of(arrays: Arrays) -> int:
    """How many samples there are."""
    return len(next(iter(arrays.values())))


def drawn(count: int, most: int | None, seed: int) -> NDArray[np.int64]:
    """Numbers, ascending, of at most so many of `count` samples. Raises: DataError for a limit below 1."""
    if most is None or most >= count:
        return np.arange(count, dtype=np.int64)
    if most < 1:
        raise DataError(f"a limit of {most} samples leaves no data")
    return np.sort(np.random.RandomState(seed % 2**32).permutation(count)[:most]).astype(np.int64)


def _check_part(where: str, arrays: Arrays) -> None:
    if not arrays:
        raise DataError(f"{where}: there are no arrays")
    for name, value in arrays.items():
        if value.dtype.kind not in "fiub":
            raise DataError(f"{where}: '{name}' holds {value.dtype}, no numbers")
        if value.ndim == 0 or not value.size:
            raise DataError(f"{where}: '{name}' is {list(value.shape)}, expected [N, ...] with a sample at least")
    counts = {name: len(value) for name, value in arrays.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of '{name}'" for name, count in counts.items())
        raise DataError(f"{where}: an array has a row for each sample, and there are {told}")
