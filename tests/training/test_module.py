from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from chanc import data as datasets  # noqa: E402
from chanc.analysis.infer_shapes import infer_shapes  # noqa: E402
from chanc.backends.torch import build  # noqa: E402
from chanc.cost.cost import cost  # noqa: E402
from chanc.ir import copy_model  # noqa: E402
from chanc.tasks import Classification  # noqa: E402
from chanc.testing.blocks import channels_first as nchw  # noqa: E402
from chanc.testing.blocks import channels_last as nhwc  # noqa: E402
from chanc.testing.graphs import Graph, Tensor  # noqa: E402
from chanc.training import module as road  # noqa: E402
from chanc.training.module import trainable  # noqa: E402
from chanc.training.options import TrainOptions  # noqa: E402
from chanc.training.train import train  # noqa: E402


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

    monkeypatch.setattr(road, "build", built)
    moved, plain = copy_model(start), copy_model(start)
    train(moved, data, Classification(), options)
    monkeypatch.setattr(road, "_built_channels_first", lambda twin, model, masters: None)
    train(plain, data, Classification(), options)
    assert len(sources) == 2
    assert sources[1].count(".permute(") >= 6
    assert sources[0].count(".permute(") == (2 if plane else 0)
    assert [node.op_type for node in moved.graph] == [node.op_type for node in start.graph]
    for name, value in plain.graph.initializers.items():
        want, have = value.const_value.numpy(), moved.graph.initializers[name].const_value.numpy()
        assert have.shape == want.shape
        np.testing.assert_allclose(have, want, rtol=1e-3, atol=1e-4)
        assert not np.array_equal(have, start.graph.initializers[name].const_value.numpy()) or have.dtype.kind == "i"


def head(build, *, opset: int = 17) -> ir.Model:
    """A convolution and a classifier; `build` makes the outputs of the logits."""
    graph = Graph(opset=opset)
    logits = graph.input("image", [2, 3, 4, 4], dynamic={0: "n"}).conv(4).relu().gap().flatten().gemm(5)
    return graph.ir(*build(logits))


class Raw(Classification):
    """Learns from what the graph says, whatever it ends in."""

    takes_logits = False


def said(model: ir.Model, task: Classification) -> tuple[list[str], list[np.ndarray]]:
    images = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = trainable(model, task).forward({"image": images})
    return list(outputs), [value.numpy() for value in outputs.values()]


HEADS = {
    "softmax": lambda y: [y.op("Softmax")],
    "log": lambda y: [y.op("LogSoftmax", axis=-1)],
    "identity": lambda y: [y.op("Softmax", axis=1).op("Identity")],
    "cast": lambda y: [y.op("Cast", to=11).op("Softmax", axis=1).op("Cast", to=1)],
    "reshape": lambda y: [y.unsqueeze(2).op("Softmax", axis=1).reshape(-1, 5)],
    "flatten": lambda y: [y.unsqueeze(2, 3).op("Softmax", axis=1).flatten()],
    "squeeze": lambda y: [y.unsqueeze(2, 3).op("Softmax", axis=1).squeeze(2, 3)],
    "both": lambda y: [y.op("Softmax"), y],
    "two": lambda y: [y.op("Softmax"), y.op("LogSoftmax")],
    "read elsewhere": lambda y: [(p := y.op("Softmax")), p + p],
}


@pytest.mark.parametrize("name", HEADS)
def test_a_last_softmax_is_left_out(name: str) -> None:
    model = head(HEADS[name])
    before = ir.to_proto(model).SerializeToString()
    names, (main, *rest) = said(model, Classification())
    assert names == [value.name for value in model.graph.outputs]
    (logits,) = said(head(lambda y: [y]), Classification())[1]
    np.testing.assert_array_equal(main, logits)
    if name in ("both", "two"):
        np.testing.assert_array_equal(rest[0], logits)
    if name == "read elsewhere":
        np.testing.assert_allclose(rest[0], 2 * said(model, Raw())[1][0], rtol=1e-6)
    assert ir.to_proto(model).SerializeToString() == before


@pytest.mark.parametrize("opset", [11, 17])
def test_the_axis_of_old_opsets(opset: int) -> None:
    assert np.ptp(said(head(lambda y: [y.op("Softmax")], opset=opset), Classification())[1][0].sum(1)) > 0.01


KEPT = {
    "no head": lambda y: [y.relu()],
    "along the batch": lambda y: [y.op("Softmax", axis=0)],
    "along the batch, from the end": lambda y: [y.op("Softmax", axis=-2)],
    "a view that is read elsewhere": lambda y: [(p := y.op("Softmax")).op("Identity"), p.relu()],
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_no_head_stays(name: str) -> None:
    model = head(KEPT[name])
    for ours, theirs in zip(said(model, Classification())[1], said(model, Raw())[1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_task_that_takes_no_logits_keeps_the_head() -> None:
    (main,) = said(head(HEADS["softmax"]), Raw())[1]
    np.testing.assert_allclose(main.sum(1), 1, rtol=1e-6)


def test_several_inputs_go_by_name_and_come_home() -> None:
    graph = Graph()
    a, b = (graph.input(name, [2, 3, 4, 4], dynamic={0: "n"}) for name in ("a", "b"))
    model = graph.ir((a.conv(4) - b.conv(4)).gap().flatten().gemm(5))
    net = trainable(model, Classification())
    assert net.inputs == ("a", "b")
    x, y = torch.randn(2, 6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    (ours,) = net.forward({"b": y, "a": x}).values()
    assert torch.equal(ours, net.module(x, y))
    assert not torch.equal(ours, net.module(y, x))
    with torch.no_grad():
        for parameter in net.module.parameters():
            parameter.zero_()
    net.write_back(model)
    weights = [value.const_value.numpy() for value in model.graph.initializers.values()]
    assert all(not weight.any() for weight in weights if weight.dtype.kind == "f")


def test_params_are_those_of_the_graph_whatever_its_layout() -> None:
    data = datasets.load("digits", limit_train=64, limit_test=20)
    options = TrainOptions(epochs=1, batch_size=32, crop_padding=0, flip=False, device="cpu")
    model = network()
    done = train(model, data, Classification(), options)
    convolutions, vectors = (1 * 9 + 1) * 8 + 2 * (8 * 9 + 1) * 8, 3 * 2 * 8
    assert done.params == convolutions + vectors + 8 * 10 + 10
    infer_shapes(model)
    assert done.params == cost(model).params
