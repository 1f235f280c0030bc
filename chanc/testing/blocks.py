"""Blocks of networks as exporters write them, on the graphs of `chanc.testing.graphs`.

Each takes and returns tensors [N, C, H, W] unless its docstring says otherwise.
"""

from __future__ import annotations

import numpy as np

from chanc.testing.graphs import Tensor


def scalar(x: Tensor, number: float) -> Tensor:
    """A float constant without axes."""
    return x.graph.constant(np.array(number, dtype=np.float32))


def per_channel(x: Tensor, low: float = 0.5, high: float = 1.5) -> Tensor:
    """A constant [C, 1, ...] that broadcasts over an image."""
    return x.graph.vector(x.channels, low, high, shape=(x.channels, *[1] * (x.rank - 2)))


def frozen_bn(x: Tensor) -> Tensor:
    """A BatchNorm written as Mul and Add of constants."""
    return x * per_channel(x) + per_channel(x, -0.5, 0.5)


def squeeze_excite(x: Tensor, inner: int, *, linear: bool = False) -> Tensor:
    """Squeeze and excitation with 1x1 convolutions, or (linear) with Flatten, Gemm and Unsqueeze."""
    if linear:
        gate = x.gap().flatten().gemm(inner).relu().gemm(x.channels).sigmoid()
        return x * gate.unsqueeze(2, 3)
    return x * x.mean(2, 3).conv(inner, 1).relu().conv(x.channels, 1).op("HardSigmoid")


def glu(x: Tensor) -> Tensor:
    """Gated linear unit: the first half of the channels times the sigmoid of the second."""
    first, second = x.split(x.channels // 2, x.channels // 2)
    return first * second.sigmoid()


def shuffle(x: Tensor, groups: int, *, open_sizes: bool = False) -> Tensor:
    """Channel shuffle by Reshape, Transpose, Reshape; `open_sizes` takes N, H and W from the tensor."""
    _, c, h, w = x.shape
    if open_sizes:
        around = (x.dim(0), x.dim(2), x.dim(3))
        split = x.reshape(around[0], groups, c // groups, around[1], around[2])
        return split.transpose(0, 2, 1, 3, 4).reshape(around[0], c, around[1], around[2])
    return x.reshape(-1, groups, c // groups, h, w).transpose(0, 2, 1, 3, 4).reshape(-1, c, h, w)


def instance_norm(x: Tensor) -> Tensor:
    """InstanceNormalization."""
    return x.op("InstanceNormalization", x.graph.vector(x.channels, 0.5, 1.5), x.graph.vector(x.channels), epsilon=1e-2)


def group_norm(x: Tensor, groups: int, form: str = "instance") -> Tensor:
    """GroupNorm by an InstanceNormalization of a reshaped tensor, "decomposed" into means, or a "node" (opset 21)."""
    _, c, h, w = x.shape
    if form == "node":
        made = x.graph.vector(c, 0.5, 1.5), x.graph.vector(c)
        return x.graph.node("GroupNormalization", [x, *made], shapes=[x.shape], num_groups=groups, epsilon=1e-2)[0]
    if form == "instance":
        ones = x.graph.constant(np.ones(groups, np.float32)), x.graph.constant(np.zeros(groups, np.float32))
        flat = x.reshape(0, groups, -1).op("InstanceNormalization", *ones, epsilon=1e-2)
        return flat.reshape(-1, c, h, w) * per_channel(x) + per_channel(x, -0.5, 0.5)
    parts = x.reshape(-1, groups, c // groups, h, w)
    centred = parts - parts.mean(2, 3, 4)
    spread = (centred * centred).mean(2, 3, 4) + scalar(x, 1e-2)
    return (centred / spread.op("Sqrt")).reshape(-1, c, h, w) * per_channel(x) + per_channel(x, -0.5, 0.5)


def layer_norm(x: Tensor, *, fused: bool = True) -> Tensor:
    """LayerNorm over the last axis, as one node (opset 17) or decomposed as exporters do."""
    size = x.shape[-1]
    gain, bias = x.graph.vector(size, 0.5, 1.5), x.graph.vector(size)
    if fused:
        return x.op("LayerNormalization", gain, bias, axis=-1, epsilon=1e-2)
    centred = x - x.mean(-1)
    spread = centred.op("Pow", scalar(x, 2.0)).mean(-1) + scalar(x, 1e-2)
    return centred / spread.op("Sqrt") * gain + bias


def channels_last(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, H, W, C]."""
    return x.transpose(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    """[N, H, W, C] -> [N, C, H, W]."""
    return x.transpose(0, 3, 1, 2)


def tokens(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, H W, C]."""
    return x.reshape(0, x.channels, -1).transpose(0, 2, 1)


def image(x: Tensor, height: int, width: int) -> Tensor:
    """[N, H W, C] -> [N, C, H, W]."""
    return x.transpose(0, 2, 1).reshape(0, x.shape[2], height, width)


def attention(x: Tensor, heads: int, *, width: int = 0, fused: bool = True) -> Tensor:
    """Self-attention over tokens [N, L, C] -> [N, L, C]; heads of one MatMul (fused) or of three."""
    _, length, c = x.shape
    width = width or c
    if fused:
        joint = x.linear(3 * width).reshape(0, length, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
        q, k, v = (joint.gather([i], 0).squeeze(0) for i in range(3))
    else:
        q, k, v = (x.linear(width).reshape(0, length, heads, width // heads).transpose(0, 2, 1, 3) for _ in range(3))
    scores = (q * scalar(x, (width // heads) ** -0.5)).op("MatMul", k.transpose(0, 1, 3, 2)).op("Softmax", axis=-1)
    return scores.op("MatMul", v).transpose(0, 2, 1, 3).reshape(0, length, width).linear(c)


def mlp(x: Tensor, inner: int) -> Tensor:
    """Two linear layers with Erf's GELU between them, on the last axis."""
    y = x.linear(inner)
    half = y * ((y / scalar(y, 2.0**0.5)).op("Erf") + scalar(y, 1.0))
    return (half * scalar(y, 0.5)).linear(x.shape[-1])


def lstm(x: Tensor, hidden: int, *, both: bool = False) -> Tensor:
    """LSTM over the width of an image: [N, C, H, W] -> mean over H -> [W, N, directions hidden]."""
    sequence = x.mean(2, keep=False).transpose(2, 0, 1)
    ways, size = 1 + both, sequence.shape[2]
    weights = [
        x.graph.weight(ways, 4 * hidden, size, fan_in=size),
        x.graph.weight(ways, 4 * hidden, hidden, fan_in=hidden),
        x.graph.vector(ways * 8 * hidden, shape=(ways, 8 * hidden)),
    ]
    direction = "bidirectional" if both else "forward"
    made = x.graph.node("LSTM", [sequence, *weights], hidden_size=hidden, direction=direction)
    return made[0].transpose(0, 2, 1, 3).reshape(0, 0, -1)


def concat_cell(x: Tensor, *nodes: int) -> Tensor:
    """The concat of nodes of these widths; each is the sum of two operations on the concat of x and all before it.

    As in CNAS an operation is a ReLU, a depthwise convolution, one of kernel 1, and a norm.
    """
    made: list[Tensor] = []
    for width in nodes:
        addends = []
        for _ in range(2):
            read = x.concat(*made) if made else x
            addends.append(read.relu().depthwise(bias=False).conv(width, 1, bias=False).bn())
        made.append(addends[0] + addends[1])
    return made[0].concat(*made[1:])
