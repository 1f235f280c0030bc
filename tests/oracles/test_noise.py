"""Networks that draw numbers go through both oracles: the noise is the same on both sides, at every width."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from chanc.oracles import check_shrink, check_widen, differences
from chanc.testing.graphs import Graph, Tensor

SHARED = Path(os.environ.get("CHANC_SHARED", Path(__file__).parents[2].parent / "shared")) / "cases"
FLOAT = onnx.TensorProto.FLOAT


def added(x: Tensor, op: str, **attributes) -> Tensor:
    """Noise of a strength that is learned, channel by channel (StyleGAN)."""
    return x + x.graph.op(op, x, **attributes) * x.graph.vector(8, shape=(1, 8, 1, 1))


def coins(x: Tensor) -> Tensor:
    return x * x.graph.op("Bernoulli", x.sigmoid(), dtype=FLOAT)


def dropped(x: Tensor) -> Tensor:
    constants = [x.graph.constant(np.array(value)) for value in (np.float32(0.4), True)]
    return x.graph.op("Dropout", x, *constants)


KINDS = {
    "RandomNormalLike": lambda x: added(x, "RandomNormalLike", mean=0.5, scale=2.0),
    "RandomUniformLike": lambda x: added(x, "RandomUniformLike", low=-1.0, high=3.0),
    "Bernoulli": coins,
    "Dropout": dropped,
    "RandomNormal": lambda x: x + x.graph.op("RandomNormal", shape=[1, 1, 6, 6]),
    "RandomUniform": lambda x: x * x.graph.op("RandomUniform", shape=[1, 1, 6, 6]),
}


def network(kind: str, last: float = 1.0) -> onnx.ModelProto:
    graph = Graph(opset=17)
    x = KINDS[kind](graph.input("x", [1, 3, 6, 6], dynamic={0: "n"}).conv(8)).relu()
    return graph.model(x.conv(5) * graph.constant(np.float32(last)))


@pytest.mark.parametrize("kind", KINDS)
def test_both_oracles(kind: str) -> None:
    model = network(kind)
    assert check_shrink(model).operands
    assert check_widen(model).operands
    assert all(found.error == 0 for found in differences(model, model))


@pytest.mark.parametrize("kind", KINDS)
def test_a_difference_is_seen_through_the_noise(kind: str) -> None:
    (found,) = differences(network(kind), network(kind, last=1.01))
    assert found.error == pytest.approx(0.01, rel=0.01)


def test_the_strength_of_added_noise_counts() -> None:
    """At the noise's mean, zero, a wrong strength would not be seen."""
    one, two = network("RandomNormalLike"), network("RandomNormalLike")
    strength = next(tensor for tensor in two.graph.initializer if list(tensor.dims) == [1, 8, 1, 1])
    strength.CopyFrom(onnx.numpy_helper.from_array(1.5 * onnx.numpy_helper.to_array(strength), strength.name))
    assert differences(one, two)[0].error > 1e-2


def test_classes_that_are_drawn() -> None:
    graph = Graph(opset=17)
    x = graph.input("x", [1, 6], dynamic={0: "n"}).gemm(8).relu().gemm(5)
    model = graph.model(x, graph.op("Multinomial", x, sample_size=3, dtype=onnx.TensorProto.INT64))
    assert check_shrink(model).operands
    assert check_widen(model).operands
    shapes = [found.shape for found in differences(model, model)]
    assert shapes == [(2, 5), (2, 3)]


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared cases")
@pytest.mark.parametrize("name", ["random_normal_like", "dropout_training"])
def test_shared_cases(name: str) -> None:
    assert check_shrink(SHARED / f"{name}.onnx").operands
    assert check_widen(SHARED / f"{name}.onnx").operands
