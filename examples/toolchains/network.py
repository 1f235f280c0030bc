"""What the examples beside it share: a network, and how far two answers lie apart."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from chanc.backends.ort import run
from chanc.testing.graphs import Graph

Array = NDArray[np.float32]


def network(size: int = 32, channels: int = 3) -> onnx.ModelProto:
    """A small residual network: image [n, channels, size, size] -> [n, 10]."""
    graph = Graph(seed=0)
    stem = graph.input("image", [1, channels, size, size], dynamic={0: "n"}).conv(16).bn().relu()
    block = stem.conv(24).bn().relu().conv(16).bn()
    down = (stem + block).relu().conv(32, stride=2).bn().relu()
    return graph.model(down.gap().flatten().gemm(10))


def image(seed: int = 0) -> Array:
    """One input."""
    return np.random.default_rng(seed).standard_normal((1, 3, 32, 32), dtype=np.float32)


def answer(model: onnx.ModelProto, pixels: Array) -> Array:
    """What onnxruntime makes of an input."""
    return run(model, {"image": pixels})[0]


def apart(one: Array, other: Array) -> float:
    """The largest difference, as a share of the largest number."""
    return float(np.abs(one - other).max() / np.abs(one).max())


def widths(model: onnx.ModelProto) -> list[int]:
    """The output channels of the convolutions."""
    shapes = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer}
    return [shapes[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]
