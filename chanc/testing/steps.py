"""The steps by which random graphs grow. Each takes a live tensor [N, C, H, W]; None where it doesn't suit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chanc.testing import blocks
from chanc.testing.graphs import Tensor
from chanc.testing.growth import MOST_CHANNELS, WIDTHS, Growth

Step = Callable[[Growth, Tensor], "Tensor | None"]
STEPS: dict[str, tuple[Step, int]] = {}
SMOOTH = ("Relu", "Sigmoid", "Tanh", "HardSwish", "Elu", "LeakyRelu", "Softplus", "Selu", "HardSigmoid", "Abs", "Neg",
          "Softsign", "Sin", "Erf", "Identity", "Dropout")  # fmt: skip


def step(weight: int = 1) -> Callable[[Step], Step]:
    """Register a step; it returns None where it doesn't suit the tensor."""

    def register(function: Step) -> Step:
        STEPS[function.__name__] = (function, weight)
        return function

    return register


def _static(growth: Growth) -> bool:
    return growth.openness < 2


@step(6)
def conv(growth: Growth, x: Tensor) -> Tensor | None:
    """A dense convolution of some kernel, stride and dilation."""
    kernels: tuple[int | tuple[int, ...], ...] = (3, 1, (1, 3), 5)
    kernel = growth.pick(kernels)
    stride = 2 if growth.chance(5) and x.shape[2] >= 8 else 1
    mode = growth.pick(("", "", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if x.shape[2] < 5 or x.shape[3] < 5:
        kernel, mode = 1, ""
    dilation = 2 if kernel == 3 and not mode and growth.chance(6) else 1
    return x.conv(growth.pick(WIDTHS), kernel, stride=stride, dilation=dilation, bias=growth.chance(2), auto_pad=mode)


@step(3)
def residual(growth: Growth, x: Tensor) -> Tensor | None:
    """x + convolutions of x."""
    inner = x.conv(growth.pick(WIDTHS), 1).relu() if growth.chance(2) else x
    return inner.conv(x.channels, growth.pick((3, 1)), bias=False).bn() + x


@step(2)
def grouped(growth: Growth, x: Tensor) -> Tensor | None:
    """A convolution with groups."""
    groups = growth.divisor(x.channels)
    return x.conv(groups * growth.pick((1, 2, 3)), growth.pick((1, 3)), groups=groups, bias=growth.chance(2))


@step(2)
def depthwise(growth: Growth, x: Tensor) -> Tensor | None:
    """A depthwise convolution, sometimes with a multiplier."""
    return x.depthwise(3, multiplier=2 if growth.chance(3) else 1, bias=growth.chance(2))


@step()
def transposed(growth: Growth, x: Tensor) -> Tensor | None:
    """A transposed convolution: dense, grouped or depthwise."""
    stride = 2 if x.shape[2] <= 8 and x.shape[3] <= 8 else 1
    groups = growth.pick((1, 1, growth.divisor(x.channels), x.channels))
    out = groups * growth.pick((1, 2, 4) if groups > 1 else WIDTHS)
    return x.conv_transpose(out, stride, stride=stride, groups=groups)


@step(3)
def normalise(growth: Growth, x: Tensor) -> Tensor | None:
    """A norm over axis 1 or frozen into constants."""
    kind = growth.draws.below(8)
    if kind < 3:
        return x.bn()
    if kind == 3:
        return blocks.frozen_bn(x)
    if kind == 4:
        return blocks.instance_norm(x) if min(x.shape[2:]) > 2 else None
    if kind == 5:
        return x.op("LRN", size=3)
    if growth.openness == 2 or min(x.shape[2:]) < 3:
        return None
    forms = ("instance", "decomposed", "node") if growth.graph.opset >= 21 else ("instance", "decomposed")
    return blocks.group_norm(x, growth.pick((growth.divisor(x.channels), 1, x.channels)), growth.pick(forms))


@step(4)
def activate(growth: Growth, x: Tensor) -> Tensor | None:
    """An activation, PRelu, Clip or SiLU."""
    kind = growth.draws.below(6)
    if kind == 3:
        return x * x.sigmoid()
    if kind == 4:
        return x.op("PRelu", blocks.per_channel(x, 0.1, 0.4) if growth.chance(2) else growth.graph.vector(1))
    if kind == 5:
        return x.op("Clip", blocks.scalar(x, -1.0), blocks.scalar(x, 6.0))
    return x.op(growth.pick(SMOOTH))


@step(3)
def add(growth: Growth, x: Tensor) -> Tensor | None:
    """An operator on two tensors of the same shape, the other one a convolution where none is there."""
    others = [t for t in growth.live if t.shape == x.shape and t.name != x.name]
    other = growth.pick(others) if others and growth.chance(2) else x.conv(x.channels, 1)
    growth.unread.pop(other.name, None)
    return x.op(growth.pick(("Add", "Mul", "Sub", "Max", "Min", "Sum", "Mean")), other)


@step(3)
def concat(growth: Growth, x: Tensor) -> Tensor | None:
    """A Concat with one or two live tensors, or with itself."""
    others = [t for t in growth.live if t.shape[2:] == x.shape[2:]]
    chosen = [growth.pick(others) for _ in range(1 + growth.chance(4))]
    for other in chosen:
        growth.unread.pop(other.name, None)
    return x.concat(*chosen)


@step(2)
def split(growth: Growth, x: Tensor) -> Tensor | None:
    """A Split into two or three parts, some uneven; one goes on through a convolution, the others stay live."""
    if x.channels < 4 or growth.graph.opset == 12:
        return None
    first = x.channels // 2 if growth.chance(2) else 1 + growth.draws.below(x.channels - 1)
    parts = list(x.split(first, x.channels - first))
    if growth.chance(3):
        return parts[0].conv(x.channels - first, 1).op("Add", parts[1])
    growth.add(parts[1])
    return parts[0]


@step(2)
def slices(growth: Growth, x: Tensor) -> Tensor | None:
    """A Slice of channels (with steps, reversed, from the end) or of rows; a roll."""
    c = x.channels
    kind = growth.draws.below(6)
    if kind == 0:
        return x.slice(1, 0, c // 2)
    if kind == 1:
        return x.slice(1, growth.draws.below(2), c, 2)
    if kind == 2:
        return x.slice(1, -1, -(2**31), -1)
    if kind == 3:
        return x.slice(1, -(c // 2), 2**31)
    if kind == 4:
        cut = 1 + growth.draws.below(c - 1) if c > 1 else 0
        return x.slice(1, cut, c).concat(x.slice(1, 0, cut)) if cut else None
    return x.slice(growth.pick((2, 3)), 0, 2**31, 2) if x.shape[2] >= 8 and x.shape[3] >= 8 else None


@step()
def gather(growth: Growth, x: Tensor) -> Tensor | None:
    """A permutation of the channels, some of them, or some of them twice."""
    order = np.random.default_rng(growth.draws.below(1 << 10)).permutation(x.channels)
    count = growth.pick((x.channels, max(x.channels // 2, 1)))
    indices = [int(n) for n in order[:count]]
    return x.gather(indices + indices[:1] if growth.chance(4) else indices)


@step()
def shuffle(growth: Growth, x: Tensor) -> Tensor | None:
    """A channel shuffle."""
    groups = growth.divisor(x.channels)
    return blocks.shuffle(x, groups, open_sizes=True) if growth.openness else blocks.shuffle(x, groups)


@step()
def pixels(growth: Growth, x: Tensor) -> Tensor | None:
    """DepthToSpace or SpaceToDepth."""
    if growth.chance(2):
        grown = x if x.channels % 4 == 0 else x.conv(growth.pick((8, 12)), 1)
        return grown.op("DepthToSpace", blocksize=2, mode=growth.pick(("DCR", "CRD"))) if x.shape[2] <= 8 else None
    even = x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0 and x.shape[2] >= 8
    return x.op("SpaceToDepth", blocksize=2) if even else None


@step(2)
def gates(growth: Growth, x: Tensor) -> Tensor | None:
    """Squeeze and excitation, GLU, a gate from another branch, FiLM."""
    kind = growth.draws.below(4)
    if kind < 2:
        return blocks.squeeze_excite(x, growth.pick((4, 3)), linear=kind == 1)
    if kind == 2:
        return blocks.glu(x if x.channels % 2 == 0 else x.conv(2 * growth.pick((3, 5)), 1))
    return x * x.conv(1, 1).sigmoid()


@step(2)
def pool(growth: Growth, x: Tensor) -> Tensor | None:
    """A pooling layer, a Resize or a spatial Pad."""
    kind = growth.draws.below(5)
    if kind < 2:
        return x.pool(("MaxPool", "AveragePool")[kind]) if x.shape[2] >= 8 and x.shape[3] >= 8 else None
    if kind == 2 and x.shape[2] <= 8 and x.shape[3] <= 8:
        scales = growth.graph.constant(np.array([1, 1, 2, 2], np.float32), stored="initializer")
        return x.op("Resize", None, scales, mode=growth.pick(("nearest", "linear")))
    if kind == 3 and _static(growth) and x.shape[2] <= 8 and growth.openness == 0:
        sizes = growth.graph.integers([x.shape[0], x.channels, 10, 10])
        return x.op("Resize", None, None, sizes, mode="nearest")
    if kind == 4 and min(x.shape[2:]) > 1:
        mode = growth.pick(("constant", "reflect", "edge"))
        return x.op("Pad", growth.graph.integers([0, 0, 1, 1, 0, 0, 1, 1]), mode=mode)
    return x.pool("AveragePool", 3, 1, pads=[1, 1, 1, 1]) if min(x.shape[2:]) > 2 else None


@step()
def channel_pad(growth: Growth, x: Tensor) -> Tensor | None:
    """Zeros before or after the channels, or the channels tiled or expanded."""
    kind = growth.draws.below(3)
    if kind == 0:
        return x.op("Pad", growth.graph.integers([0, growth.draws.below(3), 0, 0, 0, 1 + growth.draws.below(3), 0, 0]))
    if kind == 1:
        return x.op("Tile", growth.graph.integers([1, 2, 1, 1])) if x.channels <= 16 else None
    wide = growth.graph.integers([1, growth.pick(WIDTHS), 1, 1])
    return x.conv(1, 1).op("Expand", wide)


@step()
def across(growth: Growth, x: Tensor) -> Tensor | None:
    """What looks across channels: mean and maximum over them, Softmax, a scale by their norm."""
    kind = growth.draws.below(4)
    if kind == 0:
        return x * x.mean(1).concat(x.reduce("ReduceMax", 1)).conv(1, 3 if min(x.shape[2:]) > 2 else 1).sigmoid()
    if kind == 1:
        return x.op("Softmax", axis=1)
    if kind == 2:
        return x / (x.reduce("ReduceL2", 1) + blocks.scalar(x, 1.0))
    return x - x.mean(2, 3)


@step()
def einsum(growth: Growth, x: Tensor) -> Tensor | None:
    """A 1x1 convolution as Einsum or as MatMul from the left."""
    out = growth.pick(WIDTHS)
    weight = growth.graph.weight(out, x.channels, fan_in=x.channels)
    if growth.chance(2):
        return growth.graph.op("Einsum", x, weight, equation="nchw,oc->nohw")
    if growth.openness == 2:
        return None
    return growth.graph.op("MatMul", weight, x.reshape(0, x.channels, -1)).reshape(-1, out, *x.shape[2:])


@step()
def shared_weight(growth: Growth, x: Tensor) -> Tensor | None:
    """The same kernel on two tensors."""
    weight = growth.graph.weight(x.channels, x.channels, 1, 1, fan_in=x.channels)
    once = x.conv(x.channels, 1, weight=weight).relu()
    return once.conv(x.channels, 1, weight=weight, bias=False)


@step()
def shared_norm(growth: Growth, x: Tensor) -> Tensor | None:
    """Two BatchNorms that share their vectors through Identity, as TorchScript exports them."""
    made = [growth.graph.vector(x.channels, 0.5, 1.5) for _ in range(4)]
    alias = [tensor.op("Identity") for tensor in made]
    left = x.op("BatchNormalization", *made)
    return left.relu().conv(x.channels, 1).op("BatchNormalization", *alias)


@step(2)
def last(growth: Growth, x: Tensor) -> Tensor | None:
    """A stretch with channels last: linear layers, LayerNorm, a residual, a depthwise scale."""
    y = blocks.channels_last(x)
    if growth.chance(2):
        y = blocks.layer_norm(y, fused=growth.graph.opset >= 17 and growth.chance(2))
    if growth.chance(2):
        y = y + blocks.mlp(y, growth.pick(WIDTHS))
    if growth.chance(2):
        y = y * growth.graph.vector(y.shape[-1], 0.5, 1.5)
    return blocks.channels_first(y.linear(growth.pick(WIDTHS)) if growth.chance(2) else y.relu())


@step(2)
def attend(growth: Growth, x: Tensor) -> Tensor | None:
    """A transformer block over the pixels."""
    if growth.openness == 2 or x.shape[2] * x.shape[3] > 64:
        return None
    y, heads = blocks.tokens(x), growth.pick((1, 2, 4))
    width = heads * growth.pick((2, 4))
    y = y + blocks.attention(blocks.layer_norm(y, fused=False), heads, width=width, fused=growth.chance(2))
    return blocks.image(y + blocks.mlp(y, growth.pick(WIDTHS)), *x.shape[2:])


@step()
def stack(growth: Growth, x: Tensor) -> Tensor | None:
    """Two branches stacked on a new axis and summed; or joined on the batch axis and parted again."""
    other = x.conv(x.channels, 1)
    if growth.chance(2) or growth.openness:
        return x.unsqueeze(1).concat(other.unsqueeze(1), axis=1).reduce("ReduceSum", 1, keep=False)
    joined = x.concat(other, axis=0).conv(growth.pick(WIDTHS), 1)
    parts = joined.split(x.shape[0], x.shape[0], axis=0)
    return parts[0] + parts[1]


@step()
def fold(growth: Growth, x: Tensor) -> Tensor | None:
    """Flatten of an image, a linear layer and back; or a Squeeze of a pooled tensor."""
    if growth.openness == 2 or growth.chance(2):
        return x + x.gap().squeeze(2, 3).gemm(x.channels).unsqueeze(2, 3)
    if x.channels * x.shape[2] * x.shape[3] > 600:
        return None
    wide = 4 * x.channels
    return x.flatten().gemm(wide).reshape(-1, wide, 1, 1) * x.conv(wide, 1) if wide <= MOST_CHANNELS else None


@step()
def recur(growth: Growth, x: Tensor) -> Tensor | None:
    """An LSTM over the width, back in the image as a gate."""
    if growth.openness == 2:
        return None
    y = blocks.lstm(x, growth.pick((3, 4)), both=growth.chance(2)).transpose(1, 2, 0)
    return y.unsqueeze(2)


@step()
def windows(growth: Growth, x: Tensor) -> Tensor | None:
    """Linear layers in windows of 4 x 4 pixels, cut out and put back by Reshape and Transpose."""
    _, c, h, w = x.shape
    if growth.openness == 2 or h % 4 or w % 4:
        return None
    y = blocks.channels_last(x).reshape(-1, h // 4, 4, w // 4, 4, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
    y = y + blocks.mlp(y, growth.pick(WIDTHS))
    y = y.reshape(-1, h // 4, w // 4, 4, 4, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, h, w, c)
    return blocks.channels_first(y)


@step()
def choose(growth: Growth, x: Tensor) -> Tensor | None:
    """Where, TopK along the width, or a Cast to double and back."""
    kind = growth.draws.below(3)
    if kind == 0:
        return growth.graph.op("Where", x.op("Greater", blocks.scalar(x, 0.0)), x, x.conv(x.channels, 1))
    if kind == 1 and x.shape[3] >= 4:
        return growth.graph.node("TopK", [x, growth.graph.integers([4])], outputs=2, axis=-1)[0]
    return x.op("Cast", to=11).op("Cast", to=1)
