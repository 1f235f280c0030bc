"""A small classifier with a trained look, and images that it is measured on."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from chanc.data.contract import InputContract
from chanc.data.dataset import Dataset, make
from chanc.testing.graphs import Graph

CONTRACT = InputContract(1 / 255, (0.4,), (0.3,))


def classifier(seed: int = 0, classes: int = 4) -> ir.Model:
    """Images of 6 x 6 pixels; its metadata tell how it takes them."""
    graph = Graph(seed=seed, scale=0.7)
    x = graph.input("image", [2, 1, 6, 6], dynamic={0: "n"}).conv(8, bias=False).bn().relu()
    x = x + x.conv(6, bias=False).bn().relu().conv(8, bias=False).bn()
    model = graph.ir(x.relu().gap().flatten().gemm(classes))
    model.metadata_props.update(CONTRACT.metadata())
    return model


def pictures(train: int = 40, test: int = 21, *, classes: int = 4) -> Dataset:
    rng = np.random.default_rng(0)
    parts = [(rng.integers(0, 256, (count, 1, 6, 6)).astype(np.uint8), np.arange(count) % classes)
             for count in (train, test)]  # fmt: skip
    return make("pictures", *parts)


@pytest.fixture(scope="module")
def model() -> ir.Model:
    return classifier()


@pytest.fixture(scope="module")
def data() -> Dataset:
    return pictures()
