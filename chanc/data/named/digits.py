"""scikit-learn's handwritten digits: 1,797 grey images of 8x8, inside its wheel, so always at hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chanc.data.dataset import Dataset, make, stratified
from chanc.data.named import register
from chanc.errors import MissingDependencyError

_TEST_IMAGES = 360
_SPLIT_SEED = 0


def read() -> Dataset:
    """The digits as uint8 [N, 1, 8, 8], 1,437 for training and 360 for test, the split always the same.

    The original's 17 levels of grey, 0..16, are spread over 0..255.

    Raises: MissingDependencyError without scikit-learn.
    """
    table = _table()
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = table[:, -1].astype(np.int64)
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[stratified(labels, _TEST_IMAGES, _SPLIT_SEED)] = True
    return make("digits", (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out]))


def _table() -> NDArray[np.float64]:
    """An image and its label a row, [1797, 65], from the wheel's file: to import its reader takes a second."""
    try:
        spec = importlib.util.find_spec("sklearn")
    except ImportError:
        spec = None
    if spec is None or spec.origin is None:
        raise MissingDependencyError("the digits come with scikit-learn: pip install 'chanc[data]'")
    return np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")


@register("digits")
def digits(root: Path) -> Dataset:
    """1,797 grey 8x8 images of digits, from scikit-learn."""
    return read()
