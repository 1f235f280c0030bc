"""Small networks whose tensors have several readers, and random edge plans for them.

All take images [N, 3, 8, 8] and are made with seeded weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx

from chanc.analysis import Analysis
from chanc.rewriter.edges import consumers
from chanc.testing.graphs import Graph, Tensor


def _image(seed: int) -> Tensor:
    return Graph(opset=17, seed=seed).input("image", [1, 3, 8, 8], dynamic={0: "n"})


def _classified(x: Tensor) -> onnx.ModelProto:
    return x.graph.model(x.gap().flatten().gemm(5))


def densenet(seed: int = 0) -> onnx.ModelProto:
    """Bottlenecks that each read all that was made before them."""
    x = _image(seed).conv(8)
    for _ in range(3):
        x = x.concat(x.bn().relu().conv(12, 1).bn().relu().conv(4))
    return _classified(x.bn().relu())


def inception(seed: int = 0) -> onnx.ModelProto:
    """Two modules of three branches, and a classifier that reads every pixel."""
    x = _image(seed).conv(8).relu()
    for _ in range(2):
        pooled = x.pool("MaxPool", 3, 1, pads=[1] * 4).conv(4, 1).relu()
        x = x.conv(4, 1).relu().concat(x.conv(6, 1).relu().conv(8).relu(), pooled)
    return x.graph.model(x.flatten().gemm(5))


def unet(seed: int = 0) -> onnx.ModelProto:
    """Two steps down and up, with what was made on the way down beside what comes up."""
    top = _image(seed).conv(6).relu()
    middle = top.pool().conv(8).relu()
    low = middle.pool().conv(12).relu()
    x = middle.concat(low.conv_transpose(8)).conv(8).relu()
    x = top.concat(x.conv_transpose(6)).conv(6).relu()
    return x.graph.model(x.conv(2, 1))


def residual(seed: int = 0) -> onnx.ModelProto:
    """Three blocks with norms before their convolutions, on one stream."""
    x = _image(seed).conv(8).bn()
    for _ in range(3):
        x = x + x.bn().relu().conv(6).bn().relu().conv(8)
    return _classified(x)


def cells(seed: int = 0) -> onnx.ModelProto:
    """Two cells of three nodes: each the sum of two operations on all that its cell has made before it."""
    stem = _image(seed).conv(12).bn()
    first = _cell(stem, stem)
    return _classified(_cell(stem, first).relu())


def _cell(one: Tensor, two: Tensor, width: int = 4) -> Tensor:
    made = [x.relu().conv(width, 1).bn() for x in (one, two)]
    for _ in range(3):
        x = made[0].concat(*made[1:])
        ops = [x.relu().depthwise(bias=False).conv(width, 1, bias=False).bn() for _ in range(2)]
        made.append(ops[0] + ops[1])
    return made[2].concat(*made[3:])


NETWORKS: Mapping[str, Callable[[int], onnx.ModelProto]] = {
    "densenet": densenet, "inception": inception, "unet": unet, "residual": residual, "cells": cells,
}  # fmt: skip


def random_edges(analysis: Analysis, seed: int) -> dict[str, dict[str, list[int]]]:
    """An edge plan for most consumers of a model; of some groups they keep nothing, of some all."""
    rng = np.random.default_rng(seed)
    return {
        name: {
            group: np.flatnonzero(rng.random(operand.indices.shape[0]) < rng.choice((0.0, 0.3, 0.6, 0.9, 1.0))).tolist()
            for group, operand in operands.items()
        }
        for name, operands in consumers(analysis).items()
        if rng.random() < 0.75
    }
