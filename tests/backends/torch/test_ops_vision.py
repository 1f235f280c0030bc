"""DeformConv, RoiAlign, NonMaxSuppression: against onnxruntime."""

from __future__ import annotations

import itertools

import numpy as np
import pytest


def const(array):
    return ("const", np.asarray(array))


def r(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("group", "offsets", "masked"), list(itertools.product([1, 2], [1, 2], [False, True])))
def test_deform_conv(agrees, group, offsets, masked):
    """Offsets of several pixels reach over the edges."""
    x, w, b = r(2, 4, 7, 6), const(r(6, 4 // group, 3, 2, seed=1)), const(r(6, seed=2))
    given = {"opset": 19, "group": group, "offset_group": offsets, "kernel_shape": [3, 2], "tolerance": 1e-5}
    offset = 2 * r(2, offsets * 12, 7, 5, seed=3)
    mask = [r(2, offsets * 6, 7, 5, seed=4)] if masked else []
    agrees("DeformConv", x, w, offset, b, *mask, pads=[1, 0, 1, 0], **given)
    offset = 2 * r(2, offsets * 12, 3, 3, seed=3)
    agrees("DeformConv", x, w, offset, pads=[1, 1, 1, 1], strides=[2, 2], dilations=[2, 3], **given)


REGIONS = np.float32(
    [[1, 1, 6, 5], [0, 0, 9, 9], [3.3, 2.2, 3.5, 7.9], [-3, -2, 2, 4], [5, 5, 14, 12], [4, 4, 4, 4], [6, 5, 3, 2]]
)


@pytest.mark.parametrize("mode", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
def test_roi_align(agrees, mode, ratio):
    x, images = r(2, 3, 9, 10), np.int64([0, 1, 1, 0, 1, 0, 1])
    given = {"output_height": 3, "output_width": 2, "sampling_ratio": ratio, "tolerance": 1e-5}
    for scale in (1.0, 0.5, 1.7):
        agrees(
            "RoiAlign", x, REGIONS, images, coordinate_transformation_mode=mode, spatial_scale=scale, opset=16, **given
        )
    agrees("RoiAlign", x, REGIONS[:0], images[:0], coordinate_transformation_mode=mode, opset=16, **given)
    agrees("RoiAlign", x, REGIONS, images, opset=10, **given)


@pytest.mark.parametrize("shape", [(2, 3, 9, 10), (2, 3, 1, 10)])
@pytest.mark.parametrize("ratio", [0, 1, 3])
def test_roi_align_of_the_largest(agrees, ratio, shape):
    x, images = r(*shape), np.int64([0, 1, 1, 0, 1, 0, 1])
    given = {"output_height": 3, "output_width": 2, "sampling_ratio": ratio, "mode": "max", "tolerance": 1e-5}
    for scale in (1.0, 0.7):
        agrees("RoiAlign", x, REGIONS, images, spatial_scale=scale, opset=16, **given)
        agrees("RoiAlign", x - 3, REGIONS, images, spatial_scale=scale, opset=10, **given)


def boxes(centred: int, seed: int) -> np.ndarray:
    corner, size = np.random.default_rng(seed).random((2, 2, 40, 2), dtype=np.float32)
    flipped = np.where(np.arange(40)[:, None] % 2, corner + size / 2, corner)
    return np.concatenate([corner, size / 2] if centred else [flipped, 2 * corner + size / 2 - flipped], -1)


@pytest.mark.parametrize(("centred", "seed"), list(itertools.product([0, 1], range(4))))
def test_non_max_suppression(agrees, centred, seed):
    """Equal scores among them, of which the first box is the better one."""
    scores = np.random.default_rng(seed).integers(0, 20, (2, 3, 40)).astype(np.float32) / 20
    given = {"center_point_box": centred, "opset": 11}
    found = boxes(centred, seed)
    for limit, overlap, least in ((100, 0.3, 0.2), (4, 0.5, 0.5), (100, 0.0, 0.9), (100, 0.3, 2.0), (0, 0.3, 0.2)):
        limits = [np.int64([limit]), np.float32([overlap]), np.float32([least])]
        agrees("NonMaxSuppression", found, scores, *(const(entry) for entry in limits), **given)
    agrees("NonMaxSuppression", found, scores, *limits[:1], **given)
    agrees("NonMaxSuppression", found, scores, np.int64(7), np.float32(0.4), **given)
    agrees("NonMaxSuppression", found, scores, **given)
