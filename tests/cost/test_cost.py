from __future__ import annotations

import functools
import gzip
import io
import os
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from chanc.cost.cost import Cost, NodeCost, cost, node_costs


def shaped(proto: onnx.ModelProto) -> ir.Model:
    return ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto, data_prop=True))


def graph(nodes, inputs: dict[str, list], tensors: dict[str, np.ndarray], opset: int = 17) -> ir.Model:
    """A model of `nodes` with float inputs; its outputs are those of the last node."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    outputs = [helper.make_empty_tensor_value_info(nodes[-1].output[0])]
    outputs[0].type.tensor_type.elem_type = TensorProto.FLOAT
    stored = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    body = helper.make_graph(nodes, "g", values, outputs, stored)
    return shaped(helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


NIGHT = pytest.mark.nightly
# By day the published widths are counted once, by the analysis of the zoo's network (tests/analysis/test_groups.py).
RESNET34 = [
    pytest.param((64, 128, 256, 512), 10, 21_282_122, 1_162_425_344, 1_159_402_496, marks=NIGHT),
    ((16, 16, 16, 16), 10, 76_250, 21_888_416, 21_393_568),
    pytest.param((32, 32, 32, 32), 10, 301_482, 85_678_912, 84_689_216, marks=NIGHT),
    pytest.param((256, 256, 256, 256), 10, 19_098_890, 5_378_464_256, 5_370_546_688, marks=NIGHT),
]


def resnet34(widths: tuple[int, ...], classes: int):
    """ResNet34 for CIFAR in PyTorch: 3x3 stem of stride 1, no max-pool, blocks 3-4-6-3, convolutions as shortcuts."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
            self.shortcut = nn.Sequential()
            if stride != 1 or before != width:
                self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

        def forward(self, x):
            y = self.bn1(self.conv1(x)).relu()
            return (self.bn2(self.conv2(y)) + self.shortcut(x)).relu()

    blocks, before = [], widths[0]
    for stage, (depth, width) in enumerate(zip((3, 4, 6, 3), widths, strict=True)):
        for index in range(depth):
            blocks.append(Block(before, width, 2 if stage and not index else 1))
            before = width
    stem = [nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


@functools.cache
def small_resnet34() -> ir.Model:
    return exported(resnet34((16,) * 4, 10))


def exported(module, size: int = 32, batch: int = 1, dynamic: bool = True) -> ir.Model:
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(batch, 3, size, size),),
            buffer,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            opset_version=17,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}} if dynamic else None,
        )
    return shaped(onnx.load_from_string(buffer.getvalue()))


@pytest.mark.parametrize(("widths", "classes", "params", "macs_all", "macs"), RESNET34)
def test_resnet34_to_the_unit(widths, classes: int, params: int, macs_all: int, macs: int) -> None:
    pytest.importorskip("torch")
    model = small_resnet34() if widths == (16,) * 4 else exported(resnet34(widths, classes))
    assert cost(model) == Cost(params, macs, macs_all)


@pytest.mark.parametrize(
    ("widths", "params"),
    [
        pytest.param((64, 128, 256, 512), 21_328_292, marks=NIGHT), ((16,) * 4, 77_780),
        pytest.param((32,) * 4, 304_452, marks=NIGHT),
    ],
)  # fmt: skip
def test_resnet34_with_100_classes(widths, params: int) -> None:
    pytest.importorskip("torch")
    assert cost(exported(resnet34(widths, 100))).params == params


def test_equal_tensors_that_an_exporter_shares_count_for_each_layer() -> None:
    pytest.importorskip("torch")
    model = exported(resnet34((16,) * 4, 10).eval())
    assert sum(node.op_type == "Identity" for node in model.graph) > 100
    assert cost(model) == Cost(76_250, 21_393_568, 21_888_416)


def test_a_fixed_batch_counts_as_one_sample() -> None:
    pytest.importorskip("torch")
    model = exported(resnet34((16,) * 4, 10), batch=7, dynamic=False)
    assert cost(model) == Cost(76_250, 21_393_568, 21_888_416)


def test_costs_of_single_nodes_add_up() -> None:
    pytest.importorskip("torch")
    model = small_resnet34()
    nodes = node_costs(model)
    first = next(node for node in model.graph if node.op_type == "Conv")
    assert nodes[first.outputs[0].name] == NodeCost(432, 442_368, 442_368)
    norm = next(node for node in model.graph if node.op_type == "BatchNormalization")
    assert nodes[norm.outputs[0].name] == NodeCost(32, 0, 2 * 16 * 32 * 32)
    assert sum(node.macs_all for node in nodes.values()) == 21_888_416
    assert not any(node.op_type == "Add" and node.outputs[0].name in nodes for node in model.graph)


def conv(out: str, data: str, weight: str, **attributes) -> onnx.NodeProto:
    return helper.make_node("Conv", [data, *weight.split()], [out], **attributes)


def test_grouped_and_depthwise_convolutions_and_biases() -> None:
    nodes = [conv("a", "x", "w b", group=2), conv("y", "a", "d", group=6, strides=[2, 2], pads=[1, 1, 1, 1])]
    model = graph(nodes, {"x": ["N", 4, 8, 8]}, {"w": floats(6, 2, 1, 1), "b": floats(6), "d": floats(6, 1, 3, 3)})
    found = node_costs(model)
    assert found["a"] == NodeCost(12 + 6, 6 * 64 * 2, 6 * 64 * 2)
    assert found["y"] == NodeCost(54, 6 * 16 * 9, 6 * 16 * 9)


def test_transposed_convolution_pays_for_its_input() -> None:
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], group=2)
    found = cost(graph([node], {"x": ["N", 4, 5, 5]}, {"w": floats(4, 3, 2, 2)}))
    assert found == Cost(48, 4 * 25 * 3 * 4, 4 * 25 * 3 * 4)


@pytest.mark.parametrize(("transposed", "shape"), [(0, (12, 5)), (1, (5, 12))])
def test_gemm(transposed: int, shape: tuple[int, int]) -> None:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=transposed)
    assert cost(graph([node], {"x": ["N", 12]}, {"w": floats(*shape), "b": floats(5)})) == Cost(65, 60, 60)


def test_products_of_activations_and_of_weights() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["q"]),
        helper.make_node("Add", ["q", "b"], ["qb"]),
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["qb", "t"], ["y"]),
    ]
    found = node_costs(graph(nodes, {"x": ["N", 9, 6]}, {"w": floats(6, 6), "b": floats(6)}))
    assert found["q"] == NodeCost(36, 9 * 6 * 6, 9 * 6 * 6)
    assert found["qb"] == NodeCost(6, 0, 0)
    assert found["y"] == NodeCost(0, 9 * 9 * 6, 9 * 9 * 6)


def test_pooling_pays_for_its_input_and_activations_for_their_output() -> None:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Clip", ["p", "low", "high"], ["c"]),
        helper.make_node("PRelu", ["c", "slope"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["y"]),
    ]
    tensors = {"low": np.float32(0), "high": np.float32(6), "slope": np.full((3, 1, 1), 0.25, np.float32)}
    found = node_costs(graph(nodes, {"x": ["N", 3, 8, 8]}, {k: np.asarray(v) for k, v in tensors.items()}))
    assert {name: node.macs_all for name, node in found.items()} == {"p": 192, "c": 48, "r": 48, "y": 48}
    assert {name: node.params for name, node in found.items()} == {"p": 0, "c": 0, "r": 3, "y": 0}


@pytest.mark.parametrize(("axes", "extra"), [([2, 3], 192), ([-1, -2], 192), ([1], 0), ([3], 0)])
@pytest.mark.parametrize("opset", [17, 18])
def test_a_mean_over_space_is_a_pooling(axes: list[int], extra: int, opset: int) -> None:
    if opset < 18:
        nodes, tensors = [helper.make_node("ReduceMean", ["x"], ["y"], axes=axes)], {}
    else:
        nodes, tensors = [helper.make_node("ReduceMean", ["x", "axes"], ["y"])], {"axes": np.array(axes)}
    assert cost(graph(nodes, {"x": ["N", 3, 8, 8]}, tensors, opset)) == Cost(0, 0, extra)


def test_constants_are_no_parameters() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "half"], ["m"]),
        helper.make_node("Resize", ["m", "", "scales"], ["r"]),
        helper.make_node("Reshape", ["r", "shape"], ["f"]),
        helper.make_node("Pow", ["f", "two"], ["y"]),
    ]
    tensors = {
        "half": np.array([0.5], np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "shape": np.array([0, -1]),
        "two": np.full(192, 2, np.float32),
    }
    assert cost(graph(nodes, {"x": ["N", 3, 4, 4]}, tensors)).params == 0


def test_weights_in_constants_and_behind_a_transpose_are_parameters() -> None:
    nodes = [
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(floats(5, 3, 1, 1))),
        helper.make_node("Transpose", ["w"], ["wt"], perm=[3, 2, 0, 1]),
        conv("a", "x", "k"),
        conv("y", "a", "wt"),
    ]
    found = node_costs(graph(nodes, {"x": ["N", 3, 4, 4]}, {"w": floats(3, 3, 5, 7)}))
    assert found["a"].params == 15
    assert found["y"].params == 315


def test_a_shared_weight_counts_once_with_its_bias() -> None:
    nodes = [
        conv("a", "x", "w b", pads=[1, 1, 1, 1]),
        conv("c", "a", "w b", pads=[1, 1, 1, 1]),
        conv("y", "c", "v b", pads=[1, 1, 1, 1]),
    ]
    tensors = {"w": floats(4, 4, 3, 3), "v": floats(4, 4, 3, 3), "b": np.zeros(4, np.float32)}
    found = node_costs(graph(nodes, {"x": ["N", 4, 5, 5]}, tensors))
    assert [found[name].params for name in "acy"] == [148, 0, 148]
    assert found["c"].macs == found["a"].macs == 144 * 25


def test_an_unknown_shape_is_named_not_guessed() -> None:
    nodes = [conv("a", "x", "w"), conv("y", "a", "v")]
    model = graph(nodes, {"x": ["N", 3, "H", "W"]}, {"w": floats(4, 3, 1, 1), "v": floats(4, 4, 1, 1)})
    assert cost(model) == Cost(28, 0, 0, ("a", "y"))


def test_an_expression_of_the_batch_is_evaluated() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = graph([node], {"x": ["N", 4]}, {"w": floats(4, 6)})
    model.graph.outputs[0].shape = ir.Shape([ir.SymbolicDim("9*N"), 6])
    assert cost(model).macs == 9 * 6 * 4
    assert cost(graph([node], {"x": [None, 4]}, {"w": floats(4, 6)})).macs == 24


TORCHVISION = [
    ("convnext_tiny", 28_589_128, 4_455_531_264),
    pytest.param("densenet121", 7_978_856, 2_834_161_664, marks=NIGHT),
    pytest.param("efficientnet_b0", 5_288_548, 385_814_752, marks=NIGHT),
    pytest.param("mnasnet0_5", 2_218_512, 104_455_968, marks=NIGHT),
    pytest.param("mobilenet_v2", 3_504_872, 300_774_272, marks=NIGHT),
    ("mobilenet_v3_large", 5_483_032, 216_589_760),
    ("resnet18", 11_689_512, 1_814_073_344),
    pytest.param("resnet50", 25_557_032, 4_089_184_256, marks=NIGHT),
    pytest.param("swin_t", 28_288_354, None, marks=NIGHT),
    ("vit_b_16", 86_567_656, None),
]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "params", "macs"), TORCHVISION)
def test_published_counts_of_torchvision_networks(name: str, params: int, macs: int | None) -> None:
    shared = Path(os.environ.get("CHANC_SHARED") or Path(__file__).parents[2] / ".." / "shared")
    path = shared / "models" / "skeletons" / f"tv_{name}.ts.onnx.gz"
    if not path.exists():
        pytest.skip("the shared model files are not here")
    found = cost(shaped(onnx.load_from_string(gzip.decompress(path.read_bytes()))))
    assert found.params == params
    assert macs is None or (found.macs, found.uncounted) == (macs, ())


@pytest.mark.parametrize("unknown", [-1, 0])
def test_a_dimension_written_as_no_size_is_unknown(unknown: int) -> None:
    model = graph([conv("y", "x", "w")], {"x": ["N", 3, 4, 4]}, {"w": floats(4, 3, 1, 1)})
    model.graph.outputs[0].shape = ir.Shape([unknown, 4, 4, 4])
    assert cost(model) == Cost(12, 192, 192)
    model.graph.outputs[0].shape = ir.Shape([1, 4, unknown, 4])
    assert cost(model) == Cost(12, 0, 0, ("y",))
