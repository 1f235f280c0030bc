"""A small network for digits: stem, a residual block, a separable convolution with stride, pooling, classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Nodes and initializers of a network in the making."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, array: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def conv(self, name: str, x: str, shape: tuple[int, int, int, int], *, stride: int = 1, group: int = 1) -> str:
        pad = shape[2] // 2
        weight = self.weight(f"{name}.weight", self.rng.normal(0, 0.2, shape))
        self.nodes.append(helper.make_node("Conv", [x, weight], [f"{name}_out"], pads=[pad] * 4, group=group,
                                           strides=[stride] * 2, kernel_shape=shape[2:]))  # fmt: skip
        ones, zeros = np.ones(shape[0]), np.zeros(shape[0])
        names = [self.weight(f"{name}_bn.{part}", value) for part, value in
                 (("weight", ones), ("bias", zeros), ("running_mean", zeros), ("running_var", ones))]  # fmt: skip
        self.nodes.append(helper.make_node("BatchNormalization", [f"{name}_out", *names], [f"{name}_bn_out"]))
        return f"{name}_bn_out"

    def node(self, op: str, inputs: list[str], output: str, **attributes: int) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output


def digits_net(classes: int = 10) -> onnx.ModelProto:
    net = Builder()
    x = net.node("Relu", [net.conv("stem", "image", (16, 1, 3, 3))], "stem_relu")
    y = net.node("Relu", [net.conv("inner", x, (16, 16, 3, 3))], "inner_relu")
    y = net.conv("outer", y, (16, 16, 3, 3))
    x = net.node("Relu", [net.node("Add", [x, y], "sum")], "sum_relu")
    x = net.conv("depthwise", x, (16, 1, 3, 3), stride=2, group=16)
    x = net.node("Relu", [net.conv("pointwise", x, (24, 16, 1, 1))], "pointwise_relu")
    x = net.node("Flatten", [net.node("GlobalAveragePool", [x], "pooled")], "flat")
    net.weight("fc.weight", net.rng.normal(0, 0.2, (classes, 24)))
    net.weight("fc.bias", np.zeros(classes))
    net.node("Gemm", [x, "fc.weight", "fc.bias"], "logits", transB=1)
    graph = helper.make_graph(
        net.nodes,
        "digits_net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        net.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture
def digits_model(tmp_path: Path) -> Path:
    path = tmp_path / "digits.onnx"
    onnx.save(digits_net(), path)
    return path


@pytest.fixture
def hundred_classes_model(tmp_path: Path) -> Path:
    path = tmp_path / "hundred.onnx"
    onnx.save(digits_net(100), path)
    return path
