"""Samples in one array an input, cut into batches."""

from __future__ import annotations

import numpy as np
import pytest

from chanc.backends.ort import calibration_batches
from chanc.backends.ort.calibration import NUMBERS
from chanc.errors import DataError
from chanc.testing.builders import build

OPEN = build("float[N,3] x, float[N,2] z", "float y", "y = Concat <axis = 1> (x, z)")
FIXED = build("float[4,3] x", "float y", "y = Relu (x)")


def test_open_sizes_give_about_ten_batches() -> None:
    feeds = {"x": np.arange(75.0).reshape(25, 3), "z": np.zeros((25, 2))}
    batches = calibration_batches(OPEN, feeds)
    assert [len(batch["x"]) for batch in batches] == [3] * 8 + [1]
    assert np.array_equal(np.concatenate([batch["x"] for batch in batches]), feeds["x"])


def test_large_samples_come_few_at_a_time() -> None:
    large = {"x": np.broadcast_to(np.float32(0), (40, NUMBERS // 2)), "z": np.zeros((40, 1))}
    assert {len(batch["x"]) for batch in calibration_batches(OPEN, large)} == {1}


def test_a_fixed_size_is_kept() -> None:
    assert [batch["x"].shape for batch in calibration_batches(FIXED, {"x": np.zeros((12, 3))})] == [(4, 3)] * 3
    with pytest.raises(DataError, match="10 samples don't make up batches of 4, which the model's inputs are fixed to"):
        calibration_batches(FIXED, {"x": np.zeros((10, 3))})


def test_other_lengths_are_one_batch() -> None:
    assert len(calibration_batches(OPEN, {"x": np.zeros((5, 3)), "z": np.zeros((4, 2))})) == 1
    assert len(calibration_batches(OPEN, {"x": np.zeros((5, 3)), "z": np.array(1.0)})) == 1
