"""Made-up images for speed measurements and smoke tests: used only when asked for by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chanc.data.dataset import Dataset, Images, Labels, make
from chanc.data.named import register

_CLASSES = 10
_SHAPE = (3, 32, 32)


def read(train: int = 2000, test: int = 500) -> Dataset:
    """Ten classes of 3x32x32, each a fixed smooth pattern under noise; the same images every time."""
    random = np.random.RandomState(0)
    coarse = random.uniform(64, 192, size=(_CLASSES, _SHAPE[0], 4, 4))
    patterns = np.repeat(np.repeat(coarse, 8, axis=2), 8, axis=3)
    note = "made-up images: no accuracy on them means anything"
    return make("synthetic", _draw(random, patterns, train), _draw(random, patterns, test), note=note)


def _draw(random: np.random.RandomState, patterns: NDArray[np.float64], count: int) -> tuple[Images, Labels]:
    labels = (np.arange(count) % _CLASSES).astype(np.int64)
    noisy = patterns[labels] + random.normal(0, 40, size=(count, *_SHAPE))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), labels


@register("synthetic")
def synthetic(root: Path) -> Dataset:
    """Made-up 3x32x32 images, for speed measurements."""
    return read()
