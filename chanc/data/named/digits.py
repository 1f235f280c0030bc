"""scikit-learn's handwritten digits: 1,797 grey images of 8x8, inside its wheel, so always at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependencyError("the digits come with scikit-learn: pip install 'chanc[data]'") from error
    raw = load_digits()
    images = np.rint(np.asarray(raw.images) * (255 / 16)).astype(np.uint8)[:, None]
    labels = np.asarray(raw.target, dtype=np.int64)
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[stratified(labels, _TEST_IMAGES, _SPLIT_SEED)] = True
    return make("digits", (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out]))


@register("digits")
def digits(root: Path) -> Dataset:
    """1,797 grey 8x8 images of digits, from scikit-learn."""
    return read()
