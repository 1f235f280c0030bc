from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from chanc import data as datasets  # noqa: E402
from chanc.backends.torch import build  # noqa: E402
from chanc.ir import copy_model  # noqa: E402
from chanc.testing.blocks import channels_first as nchw  # noqa: E402
from chanc.testing.blocks import channels_last as nhwc  # noqa: E402
from chanc.testing.graphs import Graph, Tensor  # noqa: E402
from chanc.training import classifier  # noqa: E402
from chanc.training.classifier import train_classifier  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402


def layer(x: Tensor, out: int, gain: Tensor, bias: Tensor) -> Tensor:
    """[N, H, W, C] -> [N, H, W, out], with a norm as vectors of the last axis."""
    return (nhwc(nchw(x).conv(out)) * gain + bias).relu()


def network(*, plane: bool = False) -> ir.Model:
    """A network that keeps channels last, with vectors that two layers share, and a weight [H, W, C] where `plane`."""
    graph = Graph(scale=3**-0.5)
    x = nhwc(graph.input("image", [2, 1, 8, 8], dynamic={0: "n"}))
    gain, bias = graph.vector(8, 0.5, 1.5), graph.vector(8)
    x = layer(x, 8, gain, bias)
    x = x + layer(x, 8, gain, bias)
    x = x + graph.weight(8, 8, 8, fan_in=64) if plane else x
    return graph.ir(layer(x, 8, graph.vector(8), graph.vector(8)).mean(1, 2, keep=False).linear(10))


@pytest.mark.parametrize("plane", [False, True])
def test_channels_last_graphs_train_without_transposes(plane: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = datasets.load("digits", limit_train=256, limit_test=64)
    options = TrainOptions(epochs=1, batch_size=64, lr=0.01, crop_padding=0, flip=False, seed=1, device="cpu")
    start, sources = network(plane=plane), []

    def built(model: ir.Model):
        sources.append(build(model).source)
        return build(model)

    monkeypatch.setattr(classifier, "build", built)
    moved, plain = copy_model(start), copy_model(start)
    train_classifier(moved, data, options)
    monkeypatch.setattr(classifier, "_built_channels_first", lambda twin, model: None)
    train_classifier(plain, data, options)
    assert len(sources) == 2
    assert sources[1].count(".permute(") >= 6
    assert sources[0].count(".permute(") == (2 if plane else 0)
    assert [node.op_type for node in moved.graph] == [node.op_type for node in start.graph]
    for name, value in plain.graph.initializers.items():
        want, have = value.const_value.numpy(), moved.graph.initializers[name].const_value.numpy()
        assert have.shape == want.shape
        np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-4)
        assert not np.array_equal(have, start.graph.initializers[name].const_value.numpy()) or have.dtype.kind == "i"
