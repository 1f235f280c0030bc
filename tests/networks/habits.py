"""What exporters of other frameworks write, and files of older habits."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from chanc.testing.builders import build
from chanc.testing.graphs import Graph
from chanc.testing.graphs import Tensor as Value

from .exporting import BATCH, conv, exported, head, image
from .mobile import mobilenet_v1
from .registry import network


def _last(x: Value, out: int, stride: int = 1) -> Value:
    """A convolution of channels that come last, between two Transposes, its bias added behind."""
    weight = x.graph.weight(3, 3, x.shape[3], out, fan_in=9 * x.shape[3]).transpose(3, 2, 0, 1)
    made = x.transpose(0, 3, 1, 2).op("Conv", weight, strides=[stride] * 2, auto_pad="SAME_UPPER", kernel_shape=[3, 3])
    return made.transpose(0, 2, 3, 1) + x.graph.vector(out)


def _normed(x: Value) -> Value:
    """Keras's BatchNormalization, decomposed over the last axis."""
    n, graph = x.shape[-1], x.graph
    root = (graph.vector(n, 0.5, 1.5) + graph.constant(np.float32(1e-3))).op("Sqrt")
    return (x - graph.vector(n)) / root * graph.vector(n, 0.5, 1.5) + graph.vector(n)


@network("Keras, channels last", groups=4, day=True)
def keras() -> onnx.ModelProto:
    graph = Graph(seed=1)
    x = graph.input("image", [2, 16, 16, 3], dynamic={0: "batch"})
    y = _normed(_last(x, 12)).relu()
    y = (_normed(_last(y, 12)) + y).relu()
    y = _normed(_last(y, 16, 2)).relu()
    gate = y.mean(1, 2).linear(6).relu().linear(16).sigmoid()
    y = (y * gate).mean(1, 2, keep=False)
    return graph.model(y.linear(20).relu().linear(5).op("Softmax"))


@network("channels last, depthwise and joined", groups=2)
def keras_deep() -> onnx.ModelProto:
    graph = Graph(seed=2)
    x = graph.input("image", [2, 16, 16, 3], dynamic={0: "batch", 1: "h", 2: "w"})
    y = _last(x, 12, 2).op("Clip", graph.constant(np.float32(0)), graph.constant(np.float32(6)))
    deep = y.transpose(0, 3, 1, 2).depthwise().transpose(0, 2, 3, 1)
    y = deep.concat(y, axis=3)
    y = _last(y, 14).op("LeakyRelu", alpha=0.2)
    return graph.model(_last(y, 4))


@network("padding computed from sizes", groups=3)
def computed_padding() -> onnx.ModelProto:
    """TensorFlow's SAME, of pictures of any size: what is missing is computed, half of it before."""
    body, before = [], "x"
    for k, stride in enumerate((2, 1, 2)):
        body.append(
            f"""
        s{k} = Shape ({before})
        hw{k} = Slice (s{k}, two, four)
        up{k} = Add (hw{k}, less{k})
        out{k} = Div (up{k}, stride{k})
        short{k} = Sub (out{k}, one)
        span{k} = Mul (short{k}, stride{k})
        all{k} = Add (span{k}, three)
        need{k} = Sub (all{k}, hw{k})
        pos{k} = Max (need{k}, zero)
        a{k} = Div (pos{k}, halves)
        b{k} = Sub (pos{k}, a{k})
        pads{k} = Concat <axis = 0> (none, a{k}, none, b{k})
        p{k} = Pad (%s, pads{k})
        c{k} = Conv <strides = [{stride}, {stride}]> (p{k}, w{k}, v{k})
        r{k} = Relu (c{k})
        """
            % before
        )
        before = f"r{k}"
    weights = {
        "two": np.array([2]),
        "four": np.array([4]),
        "one": np.array([1, 1]),
        "three": np.array([3, 3]),
        "zero": np.array([0, 0]),
        "halves": np.array([2, 2]),
        "none": np.array([0, 0]),
        "w0": (12, 3, 3, 3),
        "w1": (14, 12, 3, 3),
        "w2": (16, 14, 3, 3),
        "w3": (5, 16, 1, 1),
        "v0": (12,),
        "v1": (14,),
        "v2": (16,),
        **{f"less{k}": np.array([s - 1, s - 1]) for k, s in enumerate((2, 1, 2))},
        **{f"stride{k}": np.array([s, s]) for k, s in enumerate((2, 1, 2))},
    }
    tail = "z = Conv (r2, w3) y = GlobalMaxPool (z)"
    return build("float[N,3,H,W] x", "float y", " ".join([*body, tail]), weights)


@network("initializers that are inputs, too", groups=4, share=0.97)
def overridable() -> onnx.ModelProto:
    """One weight may be fed by a caller: it stays, and with it what it takes and makes."""
    graph = Graph(seed=3)
    x = graph.input("image", [2, 3, 8, 8], dynamic={0: "batch"}).conv(12).relu().conv(14).relu()
    fed = graph.weight(10, 14, 1, 1, fan_in=14, name="fed")
    y = x.conv(10, 1, weight=fed).relu().conv(16).relu().conv(16).relu().conv(16, 1)
    model = graph.model(y.gap().flatten().gemm(5))
    model.graph.input.append(helper.make_tensor_value_info("fed", TensorProto.FLOAT, [10, 14, 1, 1]))
    return model


@network("initializers listed as inputs, of old", groups=3)
def listed() -> onnx.ModelProto:
    """IR version 3 wants all of them there; nobody feeds them."""
    graph = Graph(opset=8, seed=4)
    x = graph.input("image", [2, 3, 8, 8])
    y = x.conv(12).bn().relu()
    y = (y.conv(12).bn() + y).relu().pool()
    model = graph.model(y.conv(14).relu().flatten().gemm(16).relu().gemm(5))
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    model.ir_version = 3
    onnx.checker.check_model(model)
    return model


@network("halves", groups=4)
def halves() -> onnx.ModelProto:
    """All weights and activations in float16, as converters make them."""
    model = mobilenet_v1()
    for tensor in [*model.graph.initializer, *(a.t for n in model.graph.node for a in n.attribute if a.HasField("t"))]:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    del model.graph.value_info[:]
    return model


@network("sizes by their names", groups=1, share=0.55)
def symbolic() -> onnx.ModelProto:
    class Two(nn.Module):
        """Two inputs of one open length; states whose batch has the same name."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.lstm, self.out = nn.Linear(5, 12), nn.Linear(7, 12), nn.LSTM(12, 10), nn.Linear(10, 4)

        def forward(self, x: Tensor, z: Tensor, h: Tensor, c: Tensor) -> Tensor:
            y = torch.tanh(self.a(x)) * torch.sigmoid(self.b(z))
            return self.out(self.lstm(y, (h.tanh(), c.tanh()))[0])

    inputs = {
        "x": torch.randn(6, 2, 5),
        "z": torch.randn(6, 2, 7),
        "h": torch.randn(1, 2, 10),
        "c": torch.randn(1, 2, 10),
    }
    axes = {name: {0: "length", 1: "batch"} if name in "xz" else {1: "batch"} for name in inputs}
    return exported(Two, inputs, axes=axes)


@network("pictures of any size, Slice and Shape", groups=4)
def slices() -> onnx.ModelProto:
    class Focus(nn.Module):
        """Every second pixel in four turns; parts cut by half of a width; views of open sizes."""

        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = conv(12, 16), conv(8, 10), conv(18, 14)
            self.out = nn.Linear(14, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1))
            half = y.shape[1] // 2
            y = self.three(torch.cat([y[:, :half], self.two(y[:, half:])], 1))
            n, c, h, w = y.shape
            return self.out(y.view(n, c, h * w).permute(0, 2, 1).max(1)[0])

    return exported(Focus, image(3, 16, 16), axes={"x": {**BATCH, 2: "h", 3: "w"}}, whole=True)


@network("constants as nodes", groups=4)
def constants() -> onnx.ModelProto:
    """Paddle's: every weight a Constant node, scales and shifts by Unsqueeze, sizes of -1."""
    graph = Graph(opset=11, seed=5, stored="constant")
    x = graph.input("image", [2, 3, 16, 16], dynamic={0: "batch"})
    y = x.conv(12, bias=False).bn().op("HardSigmoid", alpha=0.2, beta=0.5)
    y = (y.conv(14, 1) + graph.vector(14, shape=[1, 14, 1, 1])).relu()
    y = y.depthwise(5, stride=2).conv(16, 1).relu()
    return graph.model(y.gap().reshape(-1, 16).gemm(12, transposed=False).relu().gemm(5))


@network("volumes", groups=4)
def volumes() -> onnx.ModelProto:
    def make() -> nn.Module:
        def block(a: int, b: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(nn.Conv3d(a, b, 3, stride, 1), nn.BatchNorm3d(b), nn.LeakyReLU())

        parts = [nn.Conv3d(12, 14, (3, 1, 1), padding=(1, 0, 0), groups=2), nn.ReLU(), nn.ConvTranspose3d(14, 10, 2, 2)]
        return nn.Sequential(
            block(1, 8), block(8, 12, 2), *parts, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(10, 3)
        )

    return exported(make, image(1, 8, 8, 8))


@network("several heads for one body", groups=5)
def heads() -> onnx.ModelProto:
    class Heads(nn.Module):
        """Landmarks, a score, an embedding of length one; the body is an output, too."""

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(conv(3, 12, act=nn.SiLU), conv(12, 16, 3, 2, act=nn.SiLU))
            self.marks, self.score = nn.Sequential(conv(16, 10), head(10, 8)), nn.Sequential(conv(16, 8), head(8, 1))
            self.who = nn.Sequential(
                conv(16, 16, groups=16), nn.Flatten(), nn.Linear(256, 14), nn.PReLU(), nn.Linear(14, 6)
            )

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            y = self.body(x)
            return self.marks(y), self.score(y).sigmoid(), nn.functional.normalize(self.who(y))

    return exported(Heads, image(3, 8, 8), outputs=3)
