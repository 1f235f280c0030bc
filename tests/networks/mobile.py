"""Networks for small devices: depthwise convolutions, squeeze-and-excitation, shuffles, inverted residuals."""

from __future__ import annotations

import math

import onnx
import torch
from torch import Tensor, nn

from .exporting import conv, exported, head, image
from .registry import network


class Gate(nn.Module):
    """Squeeze-and-excitation."""

    def __init__(self, width: int, inner: int, act: type[nn.Module] = nn.ReLU, gate: type[nn.Module] = nn.Sigmoid):
        super().__init__()
        self.f = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, inner, 1), act(), nn.Conv2d(inner, width, 1), gate()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.f(x)


class Inverted(nn.Module):
    """MobileNetV2's block, with a gate where `squeeze` is not 0; `fused` as in EfficientNetV2."""

    def __init__(
        self,
        a: int,
        b: int,
        expand: float,
        kernel: int = 3,
        stride: int = 1,
        act: type[nn.Module] = nn.ReLU6,
        squeeze: int = 0,
        gate: type[nn.Module] = nn.Sigmoid,
        fused: bool = False,
    ) -> None:
        super().__init__()
        inner, parts = round(a * expand), list[nn.Module]()
        if fused and expand == 1:
            parts = [conv(a, b, kernel, stride, act=act)]
        elif fused:
            parts = [conv(a, inner, kernel, stride, act=act), conv(inner, b, 1, act=None)]
        else:
            parts += [conv(a, inner, 1, act=act)] if expand != 1 else []
            parts += [conv(inner, inner, kernel, stride, groups=inner, act=act)]
            parts += [Gate(inner, squeeze, act if act is nn.SiLU else nn.ReLU, gate)] if squeeze else []
            parts += [conv(inner, b, 1, act=None)]
        self.f, self.skips = nn.Sequential(*parts), a == b and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x) if self.skips else self.f(x)


@network("MobileNetV1", groups=4, day=True)
def mobilenet_v1() -> onnx.ModelProto:
    def make() -> nn.Module:
        pairs = [(8, 16, 1), (16, 32, 2), (32, 32, 1)]
        parts = [nn.Sequential(conv(a, a, 3, s, groups=a), conv(a, b, 1)) for a, b, s in pairs]
        return nn.Sequential(conv(3, 8, 3, 2), *parts, head(32))

    return exported(make, image(3, 32, 32))


@network("MobileNetV2", groups=8)
def mobilenet_v2() -> onnx.ModelProto:
    def make() -> nn.Module:
        parts = [Inverted(16, 8, 1), Inverted(8, 12, 6, stride=2), Inverted(12, 12, 6), Inverted(12, 20, 6)]
        return nn.Sequential(conv(3, 16, 3, 2, act=nn.ReLU6), *parts, conv(20, 40, 1, act=nn.ReLU6), head(40))

    return exported(make, image(3, 32, 32), whole=True)


@network("MobileNetV3", groups=12)
def mobilenet_v3() -> onnx.ModelProto:
    def make() -> nn.Module:
        hard = {"gate": nn.Hardsigmoid}
        parts = [
            Inverted(8, 8, 1, stride=2, act=nn.ReLU, squeeze=4, **hard),
            Inverted(8, 12, 4, stride=2, act=nn.ReLU),
            Inverted(12, 12, 3, 5, act=nn.Hardswish, squeeze=8, **hard),
            Inverted(12, 16, 3, 5, act=nn.Hardswish, squeeze=8, **hard),
        ]
        tail = [conv(16, 48, 1, act=nn.Hardswish), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 32)]
        return nn.Sequential(conv(3, 8, 3, 2, act=nn.Hardswish), *parts, *tail, nn.Hardswish(), nn.Linear(32, 10))

    return exported(make, image(3, 32, 32))


class ShuffleV1(nn.Module):
    """Grouped convolutions with a shuffle between; of stride 2 the input is pooled and joined."""

    def __init__(self, a: int, b: int, groups: int, stride: int) -> None:
        super().__init__()
        inner, out = b // 4, b - a if stride == 2 else b
        self.groups, self.stride = groups, stride
        self.one = conv(a, inner, 1, groups=groups)
        self.two = conv(inner, inner, 3, stride, groups=inner, act=None)
        self.three = conv(inner, out, 1, groups=groups, act=None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.three(self.two(shuffled(self.one(x), self.groups)))
        if self.stride == 1:
            return torch.relu(x + y)
        return torch.relu(torch.cat([nn.functional.avg_pool2d(x, 3, 2, 1), y], 1))


def shuffled(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


@network("ShuffleNetV1", groups=4, wide=2)
def shufflenet_v1() -> onnx.ModelProto:
    def make() -> nn.Module:
        parts = [ShuffleV1(12, 72, 3, 2), ShuffleV1(72, 72, 3, 1), ShuffleV1(72, 72, 3, 1)]
        return nn.Sequential(conv(3, 12, 3, 2), *parts, head(72))

    return exported(make, image(3, 32, 32))


class ShuffleV2(nn.Module):
    """Half of the channels pass by."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.f = nn.Sequential(conv(half, half, 1), conv(half, half, groups=half, act=None), conv(half, half, 1))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return shuffled(torch.cat([a, self.f(b)], 1), 2)


@network("ShuffleNetV2", groups=6, day=True)
def shufflenet_v2() -> onnx.ModelProto:
    return exported(
        lambda: nn.Sequential(conv(3, 24, 3, 2), ShuffleV2(24), ShuffleV2(24), conv(24, 32, 1), head(32)),
        image(3, 32, 32),
        whole=True,
    )


# Of EfficientNet-B0: expansion, width, repeats, stride, kernel.
_EFFICIENT = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
# Of EfficientNetV2-S and -M: expansion, width, repeats, stride, fused.
_V2S = ((1, 24, 2, 1, 1), (4, 48, 4, 2, 1), (4, 64, 4, 2, 1), (4, 128, 6, 2, 0), (6, 160, 9, 1, 0), (6, 256, 15, 2, 0))
_V2M = (
    (1, 24, 3, 1, 1),
    (4, 48, 5, 2, 1),
    (4, 80, 5, 2, 1),
    (4, 160, 7, 2, 0),
    (6, 176, 14, 1, 0),
    (6, 304, 18, 2, 0),
    (6, 512, 5, 1, 0),
)


def _eight(width: float) -> int:
    return max(4, int(width + 2) // 4 * 4) if width < 32 else int(width + 4) // 8 * 8


def efficientnet(wide: float, deep: float) -> nn.Module:
    first = a = _eight(32 * wide)
    parts = list[nn.Module]()
    for expand, out, repeats, stride, kernel in _EFFICIENT:
        for k in range(math.ceil(repeats * deep)):
            b, step = _eight(out * wide), stride if k == 0 else 1
            parts.append(Inverted(a, b, expand, kernel, step, nn.SiLU, max(1, a // 4)))
            a = b
    last = _eight(1280 * wide)
    return nn.Sequential(conv(3, first, 3, 2, act=nn.SiLU), *parts, conv(a, last, 1, act=nn.SiLU), head(last))


def efficientnet_v2(table: tuple[tuple[int, ...], ...], wide: float, deep: float) -> nn.Module:
    first = a = _eight(24 * wide)
    parts = list[nn.Module]()
    for expand, out, repeats, stride, fused in table:
        for k in range(math.ceil(repeats * deep)):
            b, step = _eight(out * wide), stride if k == 0 else 1
            squeeze = 0 if fused else max(1, a // 4)
            parts.append(Inverted(a, b, expand, 3, step, nn.SiLU, squeeze, fused=bool(fused)))
            a = b
    last = _eight(1280 * wide)
    return nn.Sequential(conv(3, first, 3, 2, act=nn.SiLU), *parts, conv(a, last, 1, act=nn.SiLU), head(last))


@network("EfficientNet-B0, narrow", groups=40)
def efficientnet_b0() -> onnx.ModelProto:
    return exported(lambda: efficientnet(0.25, 1.0), image(3, 64, 64))


@network("EfficientNet-B4, narrow", groups=71)
def efficientnet_b4() -> onnx.ModelProto:
    return exported(lambda: efficientnet(0.25, 1.8), image(3, 64, 64), whole=True)


@network("EfficientNet-B1", groups=53)
def efficientnet_b1() -> onnx.ModelProto:
    return exported(lambda: efficientnet(1.0, 1.1), image(3, 64, 64))


@network("EfficientNet-V2-M, narrow", groups=106)
def efficientnet_v2_m() -> onnx.ModelProto:
    return exported(lambda: efficientnet_v2(_V2M, 0.25, 1.0), image(3, 64, 64))


@network("EfficientNet-V2-S", groups=75)
def efficientnet_v2_s() -> onnx.ModelProto:
    return exported(lambda: efficientnet_v2(_V2S, 1.0, 1.0), image(3, 64, 64))


class Ghost(nn.Module):
    """Half of the channels made by a convolution, half by a depthwise one of those."""

    def __init__(self, a: int, b: int, act: type[nn.Module] | None = nn.ReLU) -> None:
        super().__init__()
        self.one, self.two = conv(a, b // 2, 1, act=act), conv(b // 2, b // 2, groups=b // 2, act=act)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        return torch.cat([y, self.two(y)], 1)


class GhostBlock(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        gate = Gate(inner, 8, gate=nn.Hardsigmoid)
        self.f = nn.Sequential(Ghost(width, inner), gate, Ghost(inner, width, None))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


@network("GhostNet", groups=5)
def ghostnet() -> onnx.ModelProto:
    return exported(
        lambda: nn.Sequential(conv(3, 16, 3, 2), GhostBlock(16, 24), GhostBlock(16, 32), head(16)), image(3, 32, 32)
    )


class Fire(nn.Module):
    """Squeezed, then expanded by kernels of 1 and of 3."""

    def __init__(self, a: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.s = nn.Conv2d(a, squeeze, 1)
        self.one, self.three = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.s(x))
        return torch.cat([torch.relu(self.one(y)), torch.relu(self.three(y))], 1)


@network("SqueezeNet", groups=10)
def squeezenet() -> onnx.ModelProto:
    def make() -> nn.Module:
        pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        body = [nn.Conv2d(3, 16, 3, 2), nn.ReLU(), pool, Fire(16, 6, 12), Fire(24, 8, 14), pool, Fire(28, 8, 16)]
        tail = [nn.Dropout(), nn.Conv2d(32, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*body, *tail)

    return exported(make, image(3, 48, 48))


@network("MNASNet", groups=8)
def mnasnet() -> onnx.ModelProto:
    def make() -> nn.Module:
        stem = [conv(3, 16, 3, 2), conv(16, 16, groups=16), conv(16, 8, 1, act=None)]
        blocks = [Inverted(8, 12, 3, 5, 2, nn.ReLU), Inverted(12, 12, 3, 5, act=nn.ReLU)]
        return nn.Sequential(*stem, *blocks, Inverted(12, 20, 6, act=nn.ReLU), conv(20, 48, 1), head(48))

    return exported(make, image(3, 32, 32), whole=True)
